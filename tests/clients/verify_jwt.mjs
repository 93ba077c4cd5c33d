#!/usr/bin/env node
// Verifies a JSON Web Token with jose. Standard input: {"token": "...", "public_key_pem": "...",
// "algorithm": "ES256"}; prints {payload, header}.

import { importSPKI, jwtVerify } from 'jose';

import { run } from './standard_input.mjs';

await run(async (input) => {
  const { token, public_key_pem: pem, algorithm } = JSON.parse(input);
  const { payload, protectedHeader } = await jwtVerify(token, await importSPKI(pem, algorithm), {
    algorithms: [algorithm],
  });
  return { payload, header: protectedHeader };
});
