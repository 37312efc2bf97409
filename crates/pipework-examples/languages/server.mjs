// A server on a Unix domain socket, until its input ends: responds to each line with the line in capitals.
import net from "node:net";
import readline from "node:readline";

const path = process.argv[2];
const server = net.createServer({ allowHalfOpen: true }, async (client) => {
  for await (const line of readline.createInterface({ input: client, crlfDelay: Infinity })) {
    if (!client.write(line.toUpperCase() + "\n")) {
      await new Promise((resolve) => client.once("drain", resolve));
    }
  }
  client.end();
});
server.listen(path, () => console.log(`serving ${path}`));
process.stdin.resume().on("end", () => server.close());
