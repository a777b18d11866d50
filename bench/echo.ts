// Sends back what it is sent, on the descriptor on which a runner process speaks.
import { Socket } from "node:net";

const channel = new Socket({ fd: 3, readable: true, writable: true });
channel.on("data", (bytes) => channel.write(bytes));
