// Talks to a server on a path: sends its input, prints what comes back.
import net from "node:net";

const socket = net.connect(process.argv[2]);
socket.on("error", (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
process.stdin.pipe(socket); // at the end of input it ends its sending side
socket.pipe(process.stdout);
