// A client of a Unix domain socket: sends its input, prints the response.
import net from "node:net";

const socket = net.connect(process.argv[2]);
socket.on("error", (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
process.stdin.pipe(socket); // half-closes at the end of the input
socket.pipe(process.stdout);
