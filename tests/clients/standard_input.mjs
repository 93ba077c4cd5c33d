// What the scripts of this folder have in common: one thing on standard input, JSON on
// standard output; status 1 and a line on standard error if it isn't good.

export async function readStandardInput() {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  return Buffer.concat(chunks);
}

// Prints what `work(input)` resolves to.
export async function run(work) {
  try {
    const value = await work(await readStandardInput());
    process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
  } catch (error) {
    process.stderr.write(`${error.name}: ${error.message}\n`);
    process.exitCode = 1;
  }
}
