// Looks names up in Node; one line for each argument KIND:NAME (see languages.rs).
import { lookup, lookupService } from 'node:dns/promises';

async function lookUp(kind, name) {
  if (kind === 'all') return (await lookup(name, { all: true })).map((each) => each.address);
  if (kind === 'v4') return (await lookup(name, { all: true, family: 4 })).map((each) => each.address);
  return [(await lookupService(name, 80)).hostname];
}

for (const argument of process.argv.slice(2)) {
  const [kind, name] = argument.split(/:(.*)/s);
  try {
    console.log(argument, ...(await lookUp(kind, name)));
  } catch (error) {
    console.log(argument, '!', error.message);
  }
}
