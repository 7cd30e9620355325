// Follows a stream with the stock client of npm and says what it hears. It never closes the stream itself.
import { EventSource } from "eventsource";

const [url, ...types] = process.argv.slice(2);
const key = process.env.REMGATE_KEY;
const authorized = (input, init) => fetch(input, { ...init, headers: { ...init.headers, authorization: `Bearer ${key}` } });
const source = new EventSource(url, key ? { fetch: authorized } : {});
for (const type of types) source.addEventListener(type, (event) => console.log(`${type} ${event.lastEventId} ${event.data}`));
source.addEventListener("open", () => console.log("open"));
source.addEventListener("error", (event) => {
  if (source.readyState !== EventSource.CLOSED) return console.log("connecting again");
  console.log(`closed ${event.code}`);
  process.exit(0);
});
