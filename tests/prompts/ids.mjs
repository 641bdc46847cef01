// What docs/prompts.md says of ids and buckets, in another language: a line of hex in, a short hash and a bucket out.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const sha256 = (text) => createHash("sha256").update(text, "utf8").digest("hex");

for (const line of readFileSync(0, "ascii").split("\n")) {
  const text = Buffer.from(line, "hex").toString("utf8");
  const bucket = parseInt(sha256(`support\n${text}`).slice(0, 12), 16) % 10000;
  console.log(sha256(text).slice(0, 12), bucket);
}
