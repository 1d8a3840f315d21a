'use strict';

// What a budget of dollars is charged: prices as users give them, and which of them is that of a request. Internal.

const { kindOf, optionsOf, rangeError, shown, typeError } = require('./arguments.js');
const { priceOf } = require('./estimate.js');

const NAMES = ['inputPrice', 'outputPrice'];
const OTHERS = '*';
const MODEL_IN_PATH = /\/(?:models?|deployments)\/([^/]+)/;

/** Prices as given, checked: one for all models, a Map by model, or null for none. */
function pricesOf(given) {
  if (given === undefined || given === null) return null;
  if (typeof given !== 'object' || Array.isArray(given)) {
    throw typeError(`prices: must be { inputPrice, outputPrice } or such by model, not ${kindOf(given)}`);
  }
  if (NAMES.some((name) => name in given)) return pairOf('prices', given);
  const list = Object.entries(given);
  if (list.length === 0) throw rangeError('prices: must be { inputPrice, outputPrice } or such by model, not {}');
  return new Map(list.map(([model, pair]) => [model, pairOf(`prices[${shown(model)}]`, pair)]));
}

/** Both prices: one that was forgotten would let half of a budget pass. */
function pairOf(name, given) {
  const pair = given === undefined ? null : optionsOf(given, NAMES, name);
  for (const key of NAMES) {
    if (pair?.[key] === undefined) throw typeError(`${name}: ${key} is missing: dollars for a million tokens, or 0`);
    priceOf(`${name}.${key}`, pair[key]);
  }
  return Object.freeze({ inputPrice: pair.inputPrice, outputPrice: pair.outputPrice });
}

/**
 * The price of a request's model, or null without prices. path: where the model stands if not in the body. A request of
 * a model that has no price is refused: it would pass the budget unseen.
 */
function priceFor(prices, body, path) {
  if (!(prices instanceof Map)) return prices;
  const model = modelOf(body, path);
  const price = prices.get(model) ?? prices.get(OTHERS);
  if (price !== undefined) return price;
  const which = model === undefined ? 'a request that names no model' : `model ${shown(model)}`;
  throw rangeError(`prices: none for ${which}; there are ${shown([...prices.keys()])}`);
}

function modelOf(body, path) {
  if (typeof body?.model === 'string') return body.model;
  const [, named] = MODEL_IN_PATH.exec(path) ?? [];
  return named === undefined ? undefined : decoded(named).replace(/:[a-zA-Z]+$/, ''); // gemini-2.5-pro:generateContent
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** That a limiter of microdollars or custom units is told how many a request has. */
function checkCounted({ meters = [] }, cost, prices) {
  if (cost !== undefined) return;
  if (meters.includes('custom')) {
    throw typeError('cost: missing: the limiter counts custom units, and only a function knows those of a request: ' +
      'cost: () => ({ custom: 1 })');
  }
  if (meters.includes('microdollars') && prices === null) {
    throw typeError('prices: missing: the limiter counts microdollars: prices: { inputPrice: 3, outputPrice: 15 }, ' +
      'in dollars for a million tokens, or such by model; or a function cost');
  }
}

module.exports = { checkCounted, priceFor, pricesOf };
