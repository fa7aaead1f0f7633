// Checks objects against the schemas of Kubernetes, and a PodMonitor against the one of the Prometheus operator.
// The request is an array of objects, the answer an array of mistakes for each of them.
//
// The schemas are compiled functions that pass a field they do not know. So each object is watched meanwhile: the
// functions ask for every field that they know, and a field that nobody asked for is a mistake.
"use strict";
const path = require("path");
const answer = require("./answer.js");

const modules = path.dirname(path.dirname(require.resolve("kubernetes-models")));

// Returns the schema's function, or nothing. The schemas of Kubernetes are named after its API groups.
function schema(object) {
  const [group, version] = object.apiVersion.includes("/") ? object.apiVersion.split("/") : ["core", object.apiVersion];
  const upper = (word) => word[0].toUpperCase() + word.slice(1);
  const names = [
    ["kubernetes-models", `IoK8sApi${upper(group.split(".")[0])}${upper(version)}${object.kind}`],
    ["@kubernetes-models/prometheus-operator",
      `${group.split(".").map(upper).join("")}${upper(version)}${object.kind}`],
  ];
  for (const [name, file] of names) {
    try {
      return require(path.join(modules, name, "_schemas", `${file}.js`)).validate;
    } catch (error) {
      if (error.code !== "MODULE_NOT_FOUND") throw error;
    }
  }
  return undefined;
}

// Returns `value` in a form that notes the fields that somebody asks for: `asked` is object -> set of names.
function watched(value, asked) {
  if (value === null || typeof value !== "object") return value;
  if (!asked.has(value)) asked.set(value, new Set());
  return new Proxy(value, {
    get(target, name) {
      asked.get(target).add(name);
      return watched(target[name], asked);
    },
    // A map, such as labels: any name is good.
    ownKeys(target) {
      Object.keys(target).forEach((name) => asked.get(target).add(name));
      return Reflect.ownKeys(target);
    },
  });
}

// Returns the fields that nobody asked for. A table that nobody looked into may hold anything.
function unknown(value, asked, place) {
  if (value === null || typeof value !== "object" || !asked.get(value)?.size) return [];
  return Object.keys(value).flatMap((name) => Array.isArray(value) || asked.get(value).has(name)
    ? unknown(value[name], asked, `${place}/${name}`) : [`${place}/${name}: unknown field`]);
}

function mistakes(object) {
  const validate = schema(object);
  if (!validate) return [`no schema for ${object.apiVersion} ${object.kind}`];
  const asked = new Map();
  if (validate(watched(object, asked))) return unknown(object, asked, "");
  return validate.errors.map((error) => `${error.instancePath}: ${error.keyword} ${JSON.stringify(error.params)}`);
}

answer((objects) => objects.map(mistakes));
