import type { Cost, Limiter, Priority } from './limiter';

/** What became of one item. */
export type Outcome<Item = unknown, Value = unknown> = Succeeded<Item, Value> | Failed<Item, Value>;

interface Settled<Item> {
  readonly item: Item;
  /** Its place among all, from 0. */
  readonly index: number;
}

export interface Succeeded<Item = unknown, Value = unknown> extends Settled<Item> {
  readonly ok: true;
  /** What the function returned. */
  readonly value: Value;
  readonly error: undefined;
  /** The value. */
  result(): Value;
}

export interface Failed<Item = unknown, Value = unknown> extends Settled<Item> {
  readonly ok: false;
  /** What the function returned, where only `actual` failed then. */
  readonly value: Value | undefined;
  /** What the function threw, or the limiter or `actual` did. */
  readonly error: unknown;
  /** Throws the error. */
  result(): never;
}

/** How far it is. */
export interface MapProgress {
  /** Outcomes yielded, those that failed included. */
  readonly done: number;
  readonly failed: number;
  /** Of all items, or null where that is not known. */
  readonly total: number | null;
}

/** A bar of cli-progress, or what looks like one. */
export interface ProgressBar {
  start(total: number, startValue: number, payload?: object): void;
  update(current: number, payload?: object): void;
  setTotal?(total: number): void;
  stop(): void;
}

/** What the function is told besides the item. */
export interface MapContext {
  readonly index: number;
  /** Aborted when the iterator ends before its time: hand it on to the call. */
  readonly signal: AbortSignal;
}

export interface MapOptions<Item = any, Value = any> {
  /** Each call waits for it first and holds its permit. For clients that are limited themselves, none. */
  limiter?: Limiter | null | undefined;
  /** What a call costs, or a function of the item that returns it. One request by default. */
  cost?: Cost | null | ((item: Item) => Cost | null | undefined) | undefined;
  /** A function of the value that returns what was used, to settle with; without one, the estimate. */
  actual?: ((value: Value) => Cost | undefined) | undefined;
  /** Calls at a time: 16. */
  concurrency?: number | undefined;
  /** How many more items may have been taken, and wait to be yielded; by default as many as concurrency. */
  buffer?: number | undefined;
  /** true: in the order of the items, one slow call then holds back those after it; false: as they are done. */
  ordered?: boolean | undefined;
  /** 'collect' (the default): an error is the outcome of its item. 'throw': the first ends the whole, and is thrown. */
  errors?: 'collect' | 'throw' | undefined;
  /** Ends the whole, with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Called before each outcome is yielded. */
  onProgress?: ((progress: MapProgress) => void) | undefined;
  /** true: shown by cli-progress, where installed; 'cli-progress'; or a bar. */
  progress?: boolean | 'cli-progress' | ProgressBar | null | undefined;
  /** How many items there are, where they do not tell. */
  total?: number | undefined;
  /** Of the limiter's queue. */
  priority?: Priority | undefined;
  /** Of the limiter's queue, in milliseconds. */
  timeout?: number | undefined;
}

/** The outcomes, to be read with `for await`. */
export interface Outcomes<Item, Value> extends AsyncIterableIterator<Outcome<Item, Value>> {
  next(): Promise<IteratorResult<Outcome<Item, Value>, undefined>>;
  return(value?: any): Promise<IteratorReturnResult<any>>;
  throw(error?: any): Promise<IteratorResult<Outcome<Item, Value>, undefined>>;
  [Symbol.asyncIterator](): this;
}

/**
 * Calls a function with each item and yields an Outcome for each: value or error, by item.
 *
 * items: any iterable or async iterable, also one without end. Nothing is taken before the first outcome is asked for,
 * and no more than `concurrency + buffer` ahead of what was yielded: memory stays bounded. What it throws is thrown
 * here, after the outcomes of the items before it.
 *
 * What fn, cost, actual or the limiter throw is the item's error. Leave the loop, or call return(), and nothing is left
 * running when that is done: calls that wait in the queue are cancelled, the iterator of the items is closed, and calls
 * under way, which are told by their signal, are waited for; so too when the signal given is aborted.
 *
 * Throws TypeError or RangeError naming the option, before anything is called.
 *
 *     for await (const outcome of map(questions, ask, { limiter: claude, cost: { inputTokens: 300 } })) {
 *       console.log(outcome.index, outcome.ok ? outcome.value : outcome.error);
 *     }
 */
export function map<Item, Value>(items: Iterable<Item> | AsyncIterable<Item>,
  fn: (item: Awaited<Item>, context: MapContext) => Value,
  options?: MapOptions<Awaited<Item>, Awaited<Value>>): Outcomes<Awaited<Item>, Awaited<Value>>;
