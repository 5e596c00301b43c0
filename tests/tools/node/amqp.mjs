// A plain AMQP client: binds a queue of its own, publishes events (signed when it is given a key and the text
// of docs/security.md), and prints the first message that comes on its queue.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import amqp from "amqplib";

const { url, listen, publish, key, signing } = JSON.parse(readFileSync(0, "utf8"));
const sign = key && new Function("require", `${signing}; return sign;`)(createRequire(import.meta.url));
const connection = await amqp.connect(url);
const channel = await connection.createConfirmChannel();
const { queue } = await channel.assertQueue("", { exclusive: true });
await channel.bindQueue(queue, "antiphon.events", listen);
const heard = new Promise((resolve) => channel.consume(queue, resolve, { noAck: true }));

for (const { id, type, source, workspace, data } of publish) {
  const body = Buffer.from(JSON.stringify(data));
  const attributes = { specversion: "1.0", id, source, type, workspace };
  let headers = Object.fromEntries(Object.entries(attributes).map(([name, value]) => [`cloudEvents:${name}`, value]));
  if (sign) {
    headers = sign({ headers, body, contentType: "application/json", exchange: "antiphon.events", routingKey: type }, key);
  }
  channel.publish("antiphon.events", type, body, {
    headers, messageId: id, contentType: "application/json", persistent: true, mandatory: true,
  });
}
await channel.waitForConfirms();
const message = await heard;
const { headers, contentType, messageId } = message.properties;
console.log(JSON.stringify({ headers, contentType, messageId, data: JSON.parse(message.content.toString()) }));
await connection.close();
