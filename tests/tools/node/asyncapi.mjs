// Reads an AsyncAPI document; says whether the official parser takes it, and everything that it finds.
import { readFileSync } from "node:fs";
import parser from "@asyncapi/parser";

const { document, diagnostics } = await new parser.Parser().parse(readFileSync(0, "utf8"));
const found = diagnostics.map(({ code, message, path, severity }) => ({ code, message, path, severity }));
const operations = document ? document.operations().all().map((one) => `${one.action()} ${one.id()}`) : [];
const channels = document ? document.channels().all().map((one) => one.address()) : [];
console.log(JSON.stringify({ parsed: document !== undefined, found, operations, channels }));
