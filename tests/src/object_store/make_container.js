// Makes a container in Azurite: a request that must be signed, of which only this one is ours.
const [, base, account, key, container] = process.argv;
const crypto = require("node:crypto");
const date = new Date().toUTCString();
const version = "2021-12-02";
const headers = `x-ms-date:${date}\nx-ms-version:${version}\n`;
const text = `PUT\n\n\n\n\n\n\n\n\n\n\n\n${headers}/${account}/${account}/${container}\nrestype:container`;
const signature = crypto.createHmac("sha256", Buffer.from(key, "base64")).update(text, "utf8").digest("base64");
fetch(`${base}/${account}/${container}?restype=container`, {
  method: "PUT",
  headers: { "x-ms-date": date, "x-ms-version": version, authorization: `SharedKey ${account}:${signature}` },
}).then(async (answer) => {
  if (answer.status !== 201) {
    console.error(answer.status, await answer.text());
    process.exit(1);
  }
});
