"""Checks conf/kubernetes and conf/helm. The objects fit the schemas of Kubernetes, and a name that one part uses
exists in another. The program accepts the configurations in them.

    kubernetes.py BINARY MAKE_PKI
"""

import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import unittest

import jsonschema
import yaml

import chart
import npm

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "e2e"))
from support import main  # pylint: disable=wrong-import-position
sys.path.append(str(ROOT / "tools" / "image"))
import runtime  # pylint: disable=wrong-import-position

FOLDER = ROOT / "conf" / "kubernetes"
BINARY, MAKE_PKI = map(os.path.abspath, sys.argv[1:3])
CONFIG = "/etc/starttls-proxy/starttls-proxy.toml"
# Changes to the chart's values. With a PodMonitor the pods would have no annotations for Prometheus.
SWITCHES = {"tlsSecret": "mail-tls", "loginSecret": "mail-login", "env": [{"name": "A", "value": 'a "b"'}],
            "autoscaler": {"enabled": True}}


class Strict(yaml.SafeLoader):
    """A loader that refuses a key that is written twice, as Kubernetes does."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(keys) != len(set(keys)):
            raise yaml.YAMLError(f"a key stands twice: {keys}")
        return super().construct_mapping(node, deep)


def load(*names):
    """Returns the objects of these files below conf/kubernetes."""
    return [each for name in names
            for each in yaml.load_all((FOLDER / name).read_text(encoding="utf-8"), Strict)]


def kustomized(name):
    """Returns the objects of a kustomization: its resources, components and generated ConfigMaps.

    Names stay as they are; kustomize adds a checksum to those of ConfigMaps."""
    folder = FOLDER / "kustomize" / name
    found = []
    [kustomization] = load(folder / "kustomization.yaml")
    for each in kustomization["resources"]:
        found += load(folder / each) if each.endswith(".yaml") else kustomized(folder / each)
    for each in kustomization.get("components", []):
        found += kustomized(folder / each)
    for generator in kustomization.get("configMapGenerator", []):
        data = {file: (folder / file).read_text(encoding="utf-8") for file in generator["files"]}
        same = [each for each in found if each["kind"] == "ConfigMap"
                and each["metadata"]["name"] == generator["name"]]
        if generator.get("behavior") == "replace":
            same[0]["data"] = data
            continue
        assert not same, generator["name"]
        found.append({"apiVersion": "v1", "kind": "ConfigMap",
                      "metadata": {"name": generator["name"], **generator["options"]}, "data": data})
    return found


class Manifest:
    """Objects that belong together, and those parts of them that concern the proxy."""

    def __init__(self, objects):
        self.objects = objects
        self.deployment = self.one("Deployment")["spec"]
        self.template = self.deployment["template"]
        self.pod = self.template["spec"]
        self.containers = [*self.pod.get("initContainers", []), *self.pod["containers"]]
        [self.proxy] = [each for each in self.containers if each["name"] == "starttls-proxy"]
        self.toml = self.one("ConfigMap")["data"]["starttls-proxy.toml"]

    def all(self, kind):
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind):
        [found] = self.all(kind)
        return found


class Kubernetes(unittest.TestCase):
    @staticmethod
    @functools.cache
    def manifests():
        found = [Manifest(load("gateway.yaml")), Manifest(load("sidecar.yaml", "sidecar-policy.yaml")),
                 Manifest(kustomized("example"))]
        if chart.is_here():
            found.append(Manifest(chart.objects(loader=Strict)))
            found.append(Manifest(chart.objects(SWITCHES, Strict)))
        return found

    def test_every_object_has_kind_version_and_name(self):
        for manifest in self.manifests():
            for each in manifest.objects:
                self.assertEqual({"apiVersion", "kind", "metadata"} - set(each), set())
            names = [(each["kind"], each["metadata"]["name"]) for each in manifest.objects]
            self.assertEqual(len(names), len(set(names)))

    def test_every_mounted_volume_exists(self):
        for manifest in self.manifests():
            volumes = {each["name"]: each for each in manifest.pod["volumes"]}
            mounts = {each["name"] for container in manifest.containers
                      for each in container.get("volumeMounts", [])}
            self.assertEqual(mounts, set(volumes))
            maps = {each["configMap"]["name"] for each in volumes.values() if "configMap" in each}
            self.assertEqual(maps, {each["metadata"]["name"] for each in manifest.all("ConfigMap")})
            self.assertEqual(manifest.proxy["args"], ["--config", CONFIG])
            self.assertTrue(any(CONFIG.startswith(each["mountPath"])
                                for each in manifest.proxy["volumeMounts"]))

    def test_selectors_and_ports_match(self):
        for manifest in self.manifests():
            labels = manifest.template["metadata"]["labels"]
            selectors = [manifest.deployment["selector"]["matchLabels"]]
            selectors += [each["spec"]["selector"] for each in manifest.all("Service")]
            selectors += [each["spec"]["selector"]["matchLabels"]
                          for each in manifest.all("PodDisruptionBudget")]
            selectors += [each["spec"]["podSelector"]["matchLabels"]
                          for each in manifest.all("NetworkPolicy")]
            for selector in selectors:
                self.assertEqual(selector, labels)
            ports = {each["name"]: each["containerPort"] for each in manifest.proxy.get("ports", [])}
            config = tomllib.loads(manifest.toml)
            listening = {int(listen.rpartition(":")[2])
                         for listen in [*(each["listen"] for each in config["service"]),
                                        config["admin"]["listen"]]
                         if not listen.startswith("127.")}
            self.assertEqual(set(ports.values()), listening)
            used = {each["targetPort"] for service in manifest.all("Service")
                    for each in service["spec"]["ports"]}
            self.assertNotIn("admin", used)
            allowed = {each["port"] for policy in manifest.all("NetworkPolicy")
                       for rule in policy["spec"]["ingress"] for each in rule["ports"]}
            self.assertEqual(allowed, set(ports))
            self.assertEqual(used | {"admin"}, set(ports))

    def test_probes_and_prometheus_ask_the_admin_endpoint(self):
        for manifest in self.manifests():
            ports = {each["name"]: each["containerPort"] for each in manifest.proxy["ports"]}
            listen = tomllib.loads(manifest.toml)["admin"]["listen"]
            self.assertEqual(listen, f"0.0.0.0:{ports['admin']}")
            notes = manifest.template["metadata"]["annotations"]
            self.assertEqual((notes["prometheus.io/scrape"], notes["prometheus.io/port"],
                              notes["prometheus.io/path"]), ("true", str(ports["admin"]), "/metrics"))
            probes = {name: probe["httpGet"] for name, probe in manifest.proxy.items()
                      if name.endswith("Probe")}
            self.assertEqual({probe["port"] for probe in probes.values()}, {"admin"})
            self.assertEqual(probes.pop("livenessProbe")["path"], "/healthz")
            self.assertEqual([probe["path"] for probe in probes.values()], ["/readyz"])
            # The endpoint waits for the workers. With less patience the kubelet would miss the answer.
            self.assertGreater(manifest.proxy["livenessProbe"]["timeoutSeconds"], 2)
            [rule] = [rule for policy in manifest.all("NetworkPolicy")
                      for rule in policy["spec"]["ingress"]
                      if "admin" in {each["port"] for each in rule["ports"]}]
            self.assertEqual(len(rule["ports"]), 1)
            self.assertIn("namespaceSelector", rule["from"][0])

    def test_the_autoscaler_uses_a_metric_that_exists(self):
        manifest = Manifest(load("gateway.yaml"))
        scaler = manifest.one("HorizontalPodAutoscaler")["spec"]
        target = scaler["scaleTargetRef"]
        deployment = manifest.one("Deployment")
        self.assertEqual((target["kind"], target["apiVersion"], target["name"]),
                         ("Deployment", deployment["apiVersion"], deployment["metadata"]["name"]))
        self.assertNotIn("replicas", deployment["spec"])
        budget = manifest.one("PodDisruptionBudget")["spec"]["minAvailable"]
        self.assertGreater(scaler["minReplicas"], budget)
        self.assertGreater(scaler["maxReplicas"], scaler["minReplicas"])
        [metric] = scaler["metrics"]
        metrics = (ROOT / "lib" / "metrics" / "metrics.cc").read_text(encoding="utf-8")
        self.assertIn(f'"{metric["pods"]["metric"]["name"]}"', metrics)

    def test_the_servers_can_be_reached_through_the_policy(self):
        manifest = Manifest(load("gateway.yaml"))
        policy = manifest.one("NetworkPolicy")["spec"]
        ports = {each["port"] for rule in policy["egress"] for each in rule["ports"]}
        servers = {int(each["upstream"]["address"].rpartition(":")[2])
                   for each in tomllib.loads(manifest.toml)["service"]}
        self.assertEqual(ports, servers | {53})

    def test_sessions_have_the_time_to_finish(self):
        for manifest in self.manifests():
            drain = int(tomllib.loads(manifest.toml)["proxy"]["drain_timeout"].removesuffix("s"))
            pause = manifest.proxy.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
            self.assertGreater(manifest.pod["terminationGracePeriodSeconds"],
                               drain + pause.get("seconds", 0))

    def test_containers_have_only_the_rights_they_need(self):
        for manifest in self.manifests():
            for container in manifest.containers:
                context = {**manifest.pod.get("securityContext", {}), **container["securityContext"]}
                self.assertIs(context["allowPrivilegeEscalation"], False)
                self.assertIs(context["readOnlyRootFilesystem"], True)
                self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
                self.assertIs(context["runAsNonRoot"], True)
                self.assertTrue(context["runAsUser"] and context["runAsGroup"], context)
                self.assertFalse({"privileged", "hostNetwork", "hostPID", "hostIPC"}
                                 & {*context, *manifest.pod})

    def test_the_proxy_runs_as_the_user_of_the_image(self):
        for manifest in self.manifests():
            self.assertEqual(manifest.proxy["args"], runtime.CONFIG["Cmd"])
            context = {**manifest.pod["securityContext"], **manifest.proxy["securityContext"]}
            self.assertEqual(f'{context["runAsUser"]}:{context["runAsGroup"]}', runtime.CONFIG["User"])

    def test_the_image_names_the_ports(self):
        used = {each["containerPort"] for manifest in self.manifests() for each in manifest.proxy["ports"]}
        self.assertEqual(used, set(runtime.PORTS))

    def test_a_native_sidecar_restarts(self):
        [proxy] = Manifest(load("sidecar.yaml")).pod["initContainers"]
        self.assertEqual(proxy["restartPolicy"], "Always")

    def test_a_secret_is_mounted_for_the_proxy_alone_and_follows_rotation(self):
        manifest = Manifest(load("gateway.yaml"))
        [secret] = [each for each in manifest.pod["volumes"] if "secret" in each]
        self.assertEqual(secret["secret"]["defaultMode"], 0o400)
        self.assertEqual(len(manifest.containers), 1)  # every container of the pod is in the group
        [mount] = [each for each in manifest.proxy["volumeMounts"] if each["name"] == secret["name"]]
        self.assertNotIn("subPath", mount)

    @unittest.skipUnless(os.geteuid() == 0, "only root can mount as the kubelet does")
    def test_the_proxy_can_read_its_secret(self):
        """Uses the layout, owner and user that the kubelet would use."""
        manifest = Manifest(load("gateway.yaml"))
        context = manifest.pod["securityContext"]
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            folder.chmod(0o755)
            program = shutil.copy(BINARY, folder / "starttls-proxy")
            subprocess.run([MAKE_PKI, folder / "pki"], check=True, stdout=subprocess.DEVNULL)
            version = folder / "tls" / "..2026_11_22_09_00_00.1"
            version.mkdir(parents=True)
            (folder / "tls" / "..data").symlink_to(version.name)
            for mounted, source in (("tls.crt", "server.pem"), ("tls.key", "server.key")):
                shutil.copy(folder / "pki" / source, version / mounted)
                os.chown(version / mounted, 0, context["fsGroup"])
                os.chmod(version / mounted, 0o440)
                (folder / "tls" / mounted).symlink_to(f"..data/{mounted}")
            config = folder / "proxy.toml"
            config.write_text(manifest.toml.replace("/etc/starttls-proxy/tls", f"{folder}/tls"),
                              encoding="utf-8")
            result = subprocess.run(
                [program, "--config", config, "--check"], capture_output=True, text=True,
                user=context["runAsUser"], group=context["runAsGroup"],
                extra_groups=[context["fsGroup"]])
            self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_no_container_has_a_token_and_the_application_has_its_own_user(self):
        for manifest in self.manifests():
            self.assertIs(manifest.pod["automountServiceAccountToken"], False)
            users = [{**manifest.pod["securityContext"], **each["securityContext"]}["runAsUser"]
                     for each in manifest.containers]
            self.assertEqual(len(users), len(set(users)))

    def test_a_policy_is_a_file_of_its_own(self):
        self.assertEqual(Manifest(load("sidecar.yaml")).all("NetworkPolicy"), [])
        self.assertEqual(Manifest(kustomized("base")).all("NetworkPolicy"), [])

    def test_pod_monitors_find_the_pods_and_the_port(self):
        found = [Manifest(kustomized("example"))]
        if chart.is_here():
            found.append(Manifest(chart.objects({"podMonitor": {"enabled": True}}, Strict)))
            self.assertNotIn("prometheus.io/scrape", found[1].template["metadata"]["annotations"])
        for manifest in found:
            monitor = manifest.one("PodMonitor")["spec"]
            self.assertEqual(monitor["selector"]["matchLabels"], manifest.template["metadata"]["labels"])
            [endpoint] = monitor["podMetricsEndpoints"]
            self.assertIn(endpoint["port"], [each["name"] for each in manifest.proxy["ports"]])
            self.assertEqual(endpoint["path"], "/metrics")

    def test_the_program_accepts_the_configurations(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([MAKE_PKI, folder], check=True, stdout=subprocess.DEVNULL)
            for manifest in self.manifests():
                text = re.sub(r"/etc/starttls-proxy/tls/tls\.(crt|key)", lambda found: folder + {
                    "crt": "/server.pem", "key": "/server.key"}[found[1]], manifest.toml)
                path = pathlib.Path(folder) / "proxy.toml"
                path.write_text(text, encoding="utf-8")
                environment = {each["name"]: each["value"]
                               for each in manifest.proxy.get("env", [])}
                result = subprocess.run([BINARY, "--config", path, "--check"], capture_output=True,
                                        text=True, env={**os.environ, **environment})
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                # Pods have addresses: the NetworkPolicy answers this one warning. Another warning is about
                # root, which runs this test. The image has a user.
                warnings = [line for line in result.stdout.splitlines()
                            if "WARNING" in line and "the process stays root" not in line]
                self.assertEqual(len(warnings), 1, warnings)
                self.assertIn("(admin.listen)", warnings[0])


class Kustomize(unittest.TestCase):
    FOLDER = FOLDER / "kustomize"

    def kustomizations(self):
        return {path.parent.name: load(path)[0] for path in self.FOLDER.glob("*/kustomization.yaml")}

    def test_the_parts_are_those_of_the_gateway(self):
        def by_kind(objects):
            return {each["kind"]: each for each in objects}

        gateway, parts = by_kind(load("gateway.yaml")), by_kind(kustomized("example"))
        del parts["PodMonitor"]
        for objects in gateway, parts:
            [(file, text)] = objects["ConfigMap"]["data"].items()
            objects["ConfigMap"]["data"] = {file: tomllib.loads(text)}
        self.assertEqual(parts, gateway)

    def test_every_file_is_used(self):
        for name, kustomization in self.kustomizations().items():
            used = {*kustomization["resources"], "kustomization.yaml",
                    *(file for each in kustomization.get("configMapGenerator", [])
                      for file in each["files"])}
            there = {path.name for path in (self.FOLDER / name).iterdir()}
            self.assertEqual({each for each in used if "/" not in each}, there, name)

    def test_the_kinds_fit_their_uses(self):
        found = self.kustomizations()
        self.assertEqual(set(found), {"base", "example", "network-policy", "pod-monitor"})
        for name, kustomization in found.items():
            self.assertEqual(kustomization["kind"],
                             "Kustomization" if name in ("base", "example") else "Component", name)

    def test_the_image_and_the_map_that_the_example_changes_are_in_the_base(self):
        example, base = (self.kustomizations()[name] for name in ("example", "base"))
        images = [each["image"].rpartition(":")[0] for each in Manifest(kustomized("base")).containers]
        self.assertEqual([each["name"] for each in example["images"]], images)
        self.assertEqual([each["name"] for each in example["configMapGenerator"]],
                         [each["name"] for each in base["configMapGenerator"]])


@unittest.skipUnless(npm.are_here("kubernetes-models", "@kubernetes-models/prometheus-operator"), npm.MISSING)
class Schemas(unittest.TestCase):
    """Every object, against the schemas of Kubernetes and of the Prometheus operator."""

    def check(self, objects):
        for each, mistakes in zip(objects, npm.run("validate.js", objects), strict=True):
            self.assertEqual(mistakes, [], (each["kind"], each["metadata"]["name"]))

    def test_the_manifests_fit(self):
        paths = [path for path in FOLDER.rglob("*.yaml") if path.name != "kustomization.yaml"]
        self.assertGreater(len(paths), 8)
        self.check(load(*paths))
        self.check(kustomized("example"))

    @unittest.skipUnless(chart.is_here(), npm.MISSING)
    def test_the_chart_fits_with_all_of_its_switches(self):
        self.check(chart.objects({}, Strict))
        self.check(chart.objects({**SWITCHES, "podMonitor": {"enabled": True}}, Strict))

    def test_mistakes_are_found(self):
        container = ("spec", "template", "spec", "containers", 0)
        wrong = {"type": (("spec", "replicas"), "two"),
                 "required": (("spec", "selector"), {"matchLabels": {}, "matchExpressions": [{}]}),
                 "/spec/template/spec/containers/0/readinesProbe: unknown field": (
                     (*container, "readinesProbe"), {}),
                 "/spec/template/spec/containers/0/securityContext/runAsUsr: unknown field": (
                     (*container, "securityContext", "runAsUsr"), 65532),
                 "/spec/template/metadata/labels/a": (("spec", "template", "metadata", "labels", "a"), 1),
                 "/specs: unknown field": (("specs",), {}),
                 "no schema for apps/v1 Deploymet": (("kind",), "Deploymet")}
        objects = []
        for place, value in wrong.values():
            [changed] = [each for each in load("gateway.yaml") if each["kind"] == "Deployment"]
            part = changed
            for key in place[:-1]:
                part = part[key]
            part[place[-1]] = value
            objects.append(changed)
        for words, found in zip(wrong, npm.run("validate.js", objects), strict=True):
            self.assertIn(words, "\n".join(found))


@unittest.skipUnless(chart.is_here(), npm.MISSING)
class Chart(unittest.TestCase):
    def kinds(self, changes):
        return {each["kind"] for each in chart.objects(changes, Strict)}

    def test_it_uses_one_function_that_is_not_gos(self):
        self.assertEqual(chart.functions(), {"sha256sum"})
        self.assertIn(chart.CHECKSUM, chart.read("templates/deployment.yaml"))

    def test_a_change_of_the_configuration_rolls_out(self):
        def checksum(changes):
            notes = Manifest(chart.objects(changes, Strict)).template["metadata"]["annotations"]
            return notes["checksum/config"]

        same, other = checksum({}), checksum({"config": chart.values()["config"] + "\n# changed\n"})
        self.assertEqual(same, checksum({"replicas": 3}))
        self.assertNotEqual(same, other)

    def test_the_configuration_arrives_unchanged(self):
        text = 'a = "\\"q\\" \\\\ {{ x }} \u20ac" # \'x\' %d\n\t[[service]]\n\n'
        self.assertEqual(Manifest(chart.objects({"config": text}, Strict)).toml, text)

    def test_switches(self):
        always = {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget"}
        self.assertEqual(self.kinds({}), always | {"NetworkPolicy"})
        self.assertEqual(self.kinds({"networkPolicy": {"enabled": False}}), always)
        self.assertEqual(self.kinds({"podMonitor": {"enabled": True}, "autoscaler": {"enabled": True}}),
                         always | {"NetworkPolicy", "PodMonitor", "HorizontalPodAutoscaler"})

    def test_replicas_and_the_autoscaler_exclude_each_other(self):
        self.assertEqual(Manifest(chart.objects({}, Strict)).deployment["replicas"], 2)
        scaled = Manifest(chart.objects({"autoscaler": {"enabled": True}}, Strict))
        self.assertNotIn("replicas", scaled.deployment)
        self.assertEqual(scaled.one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"],
                         scaled.one("Deployment")["metadata"]["name"])

    def test_secrets_are_mounted_as_folders(self):
        manifest = Manifest(chart.objects({"tlsSecret": "a", "loginSecret": "b"}, Strict))
        volumes = {each["name"]: each["secret"] for each in manifest.pod["volumes"] if "secret" in each}
        self.assertEqual({name: each["secretName"] for name, each in volumes.items()},
                         {"tls": "a", "login": "b"})
        self.assertEqual({each["defaultMode"] for each in volumes.values()}, {0o400})
        for mount in manifest.proxy["volumeMounts"]:
            self.assertEqual("subPath" in mount, mount["name"] == "config")

    def test_a_tag_replaces_the_version(self):
        def image(changes):
            return Manifest(chart.objects(changes, Strict)).proxy["image"].rpartition(":")[2]

        self.assertEqual(image({}), yaml.safe_load(chart.read("Chart.yaml"))["appVersion"])
        self.assertEqual(image({"image": {"tag": "0.2.0"}}), "0.2.0")

    def test_its_version_is_the_packages(self):
        changelog = (ROOT / "debian" / "changelog").read_text(encoding="utf-8")
        [version] = re.findall(r"^starttls-proxy \(([^)]*)\)", changelog, re.M)[:1]
        fields = yaml.safe_load(chart.read("Chart.yaml"))
        self.assertEqual((fields["version"], fields["appVersion"]), (version, version))

    def test_the_schema_knows_every_value_and_refuses_mistakes(self):
        schema = json.loads(chart.read("values.schema.json"))
        jsonschema.Draft7Validator.check_schema(schema)
        jsonschema.validate(chart.values(), schema)
        for wrong in ({"imagee": {}}, {"config": ""}, {"ports": []}, {"networkPolicy": {"enable": True}},
                      {"ports": [{"name": "smtp", "port": 25, "containerPort": 25}]},
                      {"ports": [{"name": "admin", "port": 25, "containerPort": 9465}]},
                      {"env": [{"name": "A B", "value": "c"}]}, {"terminationGracePeriodSeconds": "45s"}):
            with self.assertRaises(jsonschema.ValidationError, msg=wrong):
                jsonschema.validate(chart.values(wrong), schema)


if __name__ == "__main__":
    del sys.argv[1:]  # unittest would read them as names of tests
    main.main()
