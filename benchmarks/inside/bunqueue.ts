// bunqueue inside a Bun program: `enqueue DB N` (64 waiting, durable), `bulk DB N`, `drain DB N` (4 at once).
import { Queue, Worker } from "bunqueue/client";

const [verb, dataPath, number] = process.argv.slice(2);
const count = Number(number);
const where = { embedded: true, dataPath };

async function enqueue(): Promise<void> {
  const queue = new Queue("bench", where);
  await queue.add("run", { argv: ["true"] }, { durable: true });
  let left = count;
  const began = performance.now();
  const caller = async () => {
    while (left-- > 0) await queue.add("run", { argv: ["true"] }, { durable: true });
  };
  await Promise.all(Array.from({ length: 64 }, caller));
  console.log(JSON.stringify({ seconds: (performance.now() - began) / 1000 }));
  await queue.close();
}

async function bulk(): Promise<void> {
  const queue = new Queue("bench", where);
  const jobs = Array.from({ length: count }, () => ({ name: "run", data: { argv: ["true"] }, opts: { durable: true } }));
  await queue.addBulk(jobs);
  await queue.close();
}

function drain(): Promise<void> {
  return new Promise((resolve) => {
    let done = 0;
    const run = async (job: any) => {
      const child = Bun.spawn(job.data.argv, { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
      return await child.exited;
    };
    const worker = new Worker("bench", run, { ...where, concurrency: 4 });
    worker.on("completed", () => {
      if (++done === count) worker.close().then(() => resolve());
    });
  });
}

await { enqueue, bulk, drain }[verb as "enqueue"]();
process.exit(0);
