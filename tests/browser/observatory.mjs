// Prints what Mozilla's HTTP Observatory says about a site on the loopback interface, and what csp_evaluator says
// about its policies. Run by test_observatory.py: node observatory.mjs MODULES NAME PORT TLS_PORT, policies on stdin.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync, existsSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, name, port, tlsPort] = process.argv.slice(2);
const observatory = join(modules, "@mdn", "mdn-http-observatory");

// The list of sites that browsers know to use https: nobody's site is on it here.
const preloaded = join(observatory, "conf", "hsts-preload.json");
if (!existsSync(preloaded)) writeFileSync(preloaded, "{}");

// The scanner knows the standard ports alone: send it to ours.
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  const options = Array.isArray(given[0]) ? given[0][0] : given[0];
  if (options?.host === name) {
    options.port = Number(options.port) === 443 ? Number(tlsPort) : Number(port);
    options.host = "127.0.0.1";
  }
  return connect.apply(this, given);
};

const { scan } = await import(pathToFileURL(join(observatory, "src", "index.js")));
const { scan: summary, tests } = await scan(name);
const failed = Object.entries(tests).filter(([, test]) => !test.pass).map(([id, test]) => `${id}: ${test.result}`);

const { CspParser } = createRequire(import.meta.url)(join(modules, "csp_evaluator", "dist", "parser.js"));
const { CspEvaluator } = createRequire(import.meta.url)(join(modules, "csp_evaluator", "dist", "evaluator.js"));
const findings = {};
for (const [preset, policy] of Object.entries(JSON.parse(readFileSync(0, "utf-8")))) {
  findings[preset] = new CspEvaluator(new CspParser(policy).csp)
    .evaluate()
    .map(({ severity, directive, value, description }) => ({ severity, directive, value, description }));
}
console.log(JSON.stringify({ grade: summary.grade, score: summary.score, failed, findings }));
process.exit(0);
