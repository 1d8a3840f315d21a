// Tiers and models from a file, several side by side, each with its own limiter. The file is that of the Python examples.
//
//     node tiers_and_models.mjs
import { ConfigError, load } from 'rlimit';

process.env.RELAY_API_KEY ??= 'demo';
const folder = new URL('../python/', import.meta.url);

// a missing key, a bad URL, a limit of zero: all said here, before any call
const config = load(new URL('limits.toml', folder));
for (const [name, tier] of Object.entries(config.tiers)) {
  console.log(name.padEnd(12), Object.entries(tier.options).map(([key, value]) => `${key}: ${value}`).join(', '));
}

const body = { messages: [{ role: 'user', content: 'Summarise this ticket: ...' }], max_tokens: 300 };
for (const [name, model] of Object.entries(config.models)) {
  const permit = await config.limiter(name).acquire(model.cost(body));
  console.log(name.padEnd(12), `${model.provider} at ${model.baseUrl} costs about`, permit.cost);
  permit.settle();
}

try {
  load(new URL('limits_wrong.toml', folder));
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  console.log(`\nof a file with mistakes it says:\n${error.message}`);
}
