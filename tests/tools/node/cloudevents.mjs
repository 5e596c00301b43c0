// The CloudEvents SDK. "read": a message to an event, and that event again in both modes. "make": one of its own.
// The SDK has no AMQP binding: its HTTP binding is the same but for the prefix of the headers, ce-.
import { readFileSync } from "node:fs";
import { CloudEvent, HTTP } from "cloudevents";

const { headers, body, event } = JSON.parse(readFileSync(0, "utf8"));
const read = event ? new CloudEvent(event) : HTTP.toEvent({ headers, body });
read.validate();
const { data, ...attributes } = read.toJSON();
console.log(JSON.stringify({ attributes, data, binary: HTTP.binary(read), structured: HTTP.structured(read) }));
