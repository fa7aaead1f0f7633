"""How a container of the image starts: the configuration that a container runtime reads."""

USER = 65532  # as in other images without a system in them
# The ports of the manifests in conf/kubernetes. They are only a hint: the configuration decides.
PORTS = (2525, 2587, 9465)
CONFIG = {
    "User": f"{USER}:{USER}",
    "Entrypoint": ["/usr/sbin/starttls-proxy"],
    "Cmd": ["--config", "/etc/starttls-proxy/starttls-proxy.toml"],
    "Env": ["PATH=/usr/sbin:/usr/bin"],
    "WorkingDir": "/",
    "ExposedPorts": {f"{port}/tcp": {} for port in PORTS},
    "StopSignal": "SIGTERM"}
