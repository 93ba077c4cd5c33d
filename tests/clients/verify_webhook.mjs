#!/usr/bin/env node
// Verifies a webhook with the library of Standard Webhooks. Standard input:
// {"secret": "whsec_...", "headers": {...}, "body": "..."}; prints the parsed payload.

import { Webhook } from 'standardwebhooks';

import { run } from './standard_input.mjs';

await run((input) => {
  const { secret, headers, body } = JSON.parse(input);
  return new Webhook(secret).verify(body, headers);
});
