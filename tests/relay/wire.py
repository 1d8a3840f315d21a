"""What the two API families read and write: requests, answers, headers, errors. Answers follow from the request
alone, so a client's results can be verified."""

import hashlib
import json
import time

from .policies import SECOND_NS

CATEGORIES = ("billing", "bug", "account", "shipping", "refund", "question")
LIMIT_WORDS = {
    "requests": ("requests per min (RPM)", "requests per minute"),
    "tokens": ("tokens per min (TPM)", "tokens per minute"),
    "input_tokens": ("input tokens per min (ITPM)", "input tokens per minute"),
    "output_tokens": ("output tokens per min (OTPM)", "output tokens per minute"),
    "concurrency": ("concurrent requests", "concurrent connections"),
}


def dumps(value):
    return json.dumps(value, separators=(",", ":")).encode()


class BadRequest(Exception):
    """A request that the provider answers with 400."""

    def __init__(self, message, param=None, code=None):
        super().__init__(message)
        self.message, self.param, self.code = message, param, code


class Call:
    """A valid request, with its cost: input tokens are a quarter of the characters, rounded up; `output_used` is
    between 1 and `max_output`."""

    __slots__ = ("model", "stream", "include_usage", "input_tokens", "max_output", "output_used", "text")

    def __init__(self, model, texts, max_output, stream, include_usage):
        self.model, self.stream, self.include_usage = model, stream, include_usage
        self.input_tokens = (sum(map(len, texts)) + 3) // 4
        self.max_output = max_output
        category, digest = answer(model, texts)
        self.text = category + " " + digest
        self.output_used = 1 + int(digest, 16) % max_output


def answer(model, texts):
    """(category, 16 hex digits): the answer text is the two, with a space between."""
    digest = hashlib.blake2b("\0".join([model, *texts]).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return CATEGORIES[int(digest[:4], 16) % len(CATEGORIES)], digest


def _texts(content, where):
    """The texts of a message's content: a string, or a list of blocks of which those with a text count."""
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        raise BadRequest("%s: Input should be a string or a list of content blocks" % where, where)
    texts = []
    for index, block in enumerate(content):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise BadRequest("%s.%d: Input should be a content block with a type" % (where, index), where)
        if isinstance(block.get("text"), str):
            texts.append(block["text"])
        elif isinstance(block.get("content"), (str, list)):
            texts += _texts(block["content"], "%s.%d.content" % (where, index))
    return texts


def _count(body, name):
    value = body.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise BadRequest("%s: %r is not an integer of at least 1" % (name, value), name, "invalid_value")
    return value


def _flag(body, name):
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest("%s: %r is not true or false" % (name, value), name, "invalid_type")
    return bool(value)


def _body(raw):
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise BadRequest("We could not parse the JSON body of your request: %s" % error) from None
    if not isinstance(body, dict):
        raise BadRequest("The body of your request is not a JSON object")
    return body


def _messages(body, empty_content):
    model, messages = body.get("model"), body.get("messages")
    if not isinstance(model, str) or not model:
        raise BadRequest("model: Field required", "model", "missing_required_parameter")
    if messages is None:
        raise BadRequest("messages: Field required", "messages", "missing_required_parameter")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages: at least one message is required", "messages", "invalid_type")
    texts = []
    for index, message in enumerate(messages):
        where = "messages.%d" % index
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadRequest("%s: Input should be an object with a role" % where, where, "invalid_type")
        content = message.get("content")
        if content is None and empty_content:
            continue
        texts += _texts(content, where + ".content")
    return model, texts


def go_duration(ns):
    """OpenAI's form, rounded up to a millisecond: 6ms, 3.114s, 2m59.56s, 6m0s, 1h0m0s; 0s."""
    ms = -(-ns // 10 ** 6)
    if 0 < ms < 1000:
        return "%dms" % ms
    minutes, ms = divmod(ms, 60_000)
    seconds = "%d.%03d" % divmod(ms, 1000)
    text = seconds.rstrip("0").rstrip(".") + "s"
    if minutes >= 60:
        return "%dh%dm%s" % (*divmod(minutes, 60), text)
    return "%dm%s" % (minutes, text) if minutes else text


def rfc3339(ns):
    """UTC, rounded up to a second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(-(-ns // SECOND_NS)))


class OpenAI:
    path = "/v1/chat/completions"
    request_id_header = "x-request-id"
    too_large_status = 400

    @staticmethod
    def parse(raw, default_output):
        body = _body(raw)
        model, texts = _messages(body, empty_content=True)
        max_output = _count(body, "max_completion_tokens") or _count(body, "max_tokens") or default_output
        options = body.get("stream_options")
        if options is not None and not isinstance(options, dict):
            raise BadRequest("stream_options: not an object", "stream_options", "invalid_type")
        return Call(model, texts, max_output, _flag(body, "stream"), bool(options and options.get("include_usage")))

    @staticmethod
    def headers(states, now_ns):
        headers = {}
        for state in states:
            if state.name in ("requests", "tokens"):
                headers["x-ratelimit-limit-" + state.name] = str(state.limit)
                headers["x-ratelimit-remaining-" + state.name] = str(max(state.remaining, 0))
                headers["x-ratelimit-reset-" + state.name] = go_duration(state.reset_ns)
        return headers

    @staticmethod
    def error(status, message, request_id, kind=None, param=None, code=None):
        if kind is None:
            kind = "server_error" if status >= 500 else "invalid_request_error"
        return {"error": {"message": message, "type": kind, "param": param, "code": code}}

    @classmethod
    def bad_request(cls, error, request_id):
        return cls.error(400, error.message, request_id, param=error.param, code=error.code)

    @classmethod
    def unauthorized(cls, key, request_id):
        if not key:
            return cls.error(401, "You didn't provide an API key. You need to provide your API key in an "
                             "Authorization header using Bearer auth.", request_id)
        return cls.error(401, "Incorrect API key provided: %s. You can find your API key at "
                         "https://platform.openai.com/account/api-keys." % key, request_id, code="invalid_api_key")

    @classmethod
    def refused(cls, call, state, requested, wait_ns, request_id):
        """`state` is None for a forced 429."""
        message = "Rate limit reached for %s in organization org-relay" % call.model
        if state:
            message += " on %s: Limit %d, Used %d, Requested %d" % (
                LIMIT_WORDS[state.name][0], state.enforced, state.enforced - state.left, requested)
        message += ". "
        if wait_ns:
            message += "Please try again in %s. " % go_duration(wait_ns)
        message += "Visit https://platform.openai.com/account/rate-limits to learn more."
        return cls.error(429, message, request_id, kind=state.name if state else "requests",
                         code="rate_limit_exceeded")

    @classmethod
    def too_large(cls, call, state, requested, request_id):
        return cls.error(400, "Request too large for %s in organization org-relay on %s: Limit %d, Requested %d. The "
                         "input or output tokens must be reduced in order to run successfully." % (
                             call.model, LIMIT_WORDS[state.name][0], state.enforced, requested),
                         request_id, kind=state.name, code="request_too_large")

    @classmethod
    def quota(cls, request_id):
        return cls.error(429, "You exceeded your current quota, please check your plan and billing details.",
                         request_id, kind="insufficient_quota", code="insufficient_quota")

    @classmethod
    def fault(cls, status, request_id):
        if status == 503:
            return cls.error(503, "Slow Down: reduce your request rate to its original level, keep it for 15 minutes, "
                             "then raise it gradually.", request_id, kind="service_unavailable_error",
                             code="slow_down")
        return cls.error(status, "The server had an error while processing your request (fault %d)." % status,
                         request_id)

    @staticmethod
    def _usage(call):
        return {"prompt_tokens": call.input_tokens, "completion_tokens": call.output_used,
                "total_tokens": call.input_tokens + call.output_used}

    @classmethod
    def plain(cls, call, request_id, now_ns):
        return {"id": "chatcmpl-" + request_id, "object": "chat.completion", "created": now_ns // SECOND_NS,
                "model": call.model, "choices": [{"index": 0, "message": {"role": "assistant", "content": call.text},
                                                  "logprobs": None, "finish_reason": "stop"}],
                "usage": cls._usage(call)}

    @classmethod
    def events(cls, call, request_id, now_ns):
        def chunk(choices, **more):
            return b"data: " + dumps({"id": "chatcmpl-" + request_id, "object": "chat.completion.chunk",
                                      "created": now_ns // SECOND_NS, "model": call.model, "choices": choices,
                                      **more}) + b"\n\n"

        def delta(content, finish_reason=None):
            usage = {"usage": None} if call.include_usage else {}
            return chunk([{"index": 0, "delta": content, "logprobs": None, "finish_reason": finish_reason}], **usage)

        events = [delta({"role": "assistant", "content": ""})]
        events += [delta({"content": piece}) for piece in _pieces(call.text)]
        events.append(delta({}, "stop"))
        if call.include_usage:
            events.append(chunk([], usage=cls._usage(call)))
        events.append(b"data: [DONE]\n\n")
        return events


class Anthropic:
    path = "/v1/messages"
    request_id_header = "request-id"
    too_large_status = 413

    _TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
              404: "not_found_error", 408: "timeout_error", 409: "conflict_error", 413: "request_too_large",
              429: "rate_limit_error", 504: "timeout_error", 529: "overloaded_error"}

    @staticmethod
    def parse(raw, default_output):
        body = _body(raw)
        model, texts = _messages(body, empty_content=False)
        if body.get("system") is not None:
            texts = _texts(body["system"], "system") + texts
        max_output = _count(body, "max_tokens")
        if max_output is None:
            raise BadRequest("max_tokens: Field required", "max_tokens")
        return Call(model, texts, max_output, _flag(body, "stream"), True)

    @staticmethod
    def headers(states, now_ns):
        """Without limits of their own, input and output tokens show the limit on all tokens; `tokens` shows whichever
        token limit has the least left."""
        shown = {state.name: state for state in states}
        tokens = [state for state in states if state.name.endswith("tokens")]
        if tokens:
            if "tokens" in shown:
                shown.setdefault("input_tokens", shown["tokens"])
                shown.setdefault("output_tokens", shown["tokens"])
            shown["tokens"] = min(tokens, key=lambda state: state.remaining / state.limit)
        headers = {}
        for name, state in shown.items():
            remaining = max(state.remaining, 0)
            if name != "requests":
                remaining = min((remaining + 500) // 1000 * 1000, state.limit)
            prefix = "anthropic-ratelimit-%s-" % name.replace("_", "-")
            headers[prefix + "limit"] = str(state.limit)
            headers[prefix + "remaining"] = str(remaining)
            headers[prefix + "reset"] = rfc3339(now_ns + state.reset_ns)
        return headers

    @classmethod
    def error(cls, status, message, request_id, **more):
        return {"type": "error", "error": {"type": cls._TYPES.get(status, "api_error"), "message": message, **more},
                "request_id": request_id}

    @classmethod
    def bad_request(cls, error, request_id):
        return cls.error(400, error.message, request_id)

    @classmethod
    def unauthorized(cls, key, request_id):
        return cls.error(401, "invalid x-api-key" if key else "x-api-key header is required", request_id)

    @classmethod
    def refused(cls, call, state, requested, wait_ns, request_id):
        if state is None:
            return cls.error(429, "Number of requests has exceeded your rate limit.", request_id)
        if state.name == "concurrency":
            return cls.error(429, "Number of concurrent connections has exceeded your rate limit of %d."
                             % state.enforced, request_id)
        return cls.error(429, "This request would exceed your organization's rate limit of %s %s (model: %s): "
                         "%s used, %s requested." % (
                             format(state.limit, ","), LIMIT_WORDS[state.name][1], call.model,
                             format(state.enforced - state.left, ","), format(requested, ",")), request_id)

    @classmethod
    def too_large(cls, call, state, requested, request_id):
        return cls.error(413, "Request of %s %s is larger than the limit of %s ever admits." % (
            format(requested, ","), state.name.replace("_", " "), format(state.enforced, ",")), request_id)

    @classmethod
    def quota(cls, request_id):
        return cls.error(429, "You have reached your specified API usage limits.", request_id,
                         details={"error_code": "enforced_spend_limit_reached"})

    @classmethod
    def fault(cls, status, request_id):
        messages = {500: "Internal server error", 503: "Slow Down", 529: "Overloaded"}
        return cls.error(status, messages.get(status, "Fault %d" % status), request_id)

    @staticmethod
    def _message(call, request_id, content, stop_reason, output_tokens):
        return {"id": "msg_" + request_id, "type": "message", "role": "assistant", "model": call.model,
                "content": content, "stop_reason": stop_reason, "stop_sequence": None,
                "usage": {"input_tokens": call.input_tokens, "cache_creation_input_tokens": 0,
                          "cache_read_input_tokens": 0, "output_tokens": output_tokens}}

    @classmethod
    def plain(cls, call, request_id, now_ns):
        return cls._message(call, request_id, [{"type": "text", "text": call.text}], "end_turn", call.output_used)

    @classmethod
    def events(cls, call, request_id, now_ns):
        def event(kind, **fields):
            return b"event: %s\ndata: %s\n\n" % (kind.encode(), dumps({"type": kind, **fields}))

        return [
            event("message_start", message=cls._message(call, request_id, [], None, 1)),
            event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            event("ping"),
            *[event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
              for piece in _pieces(call.text)],
            event("content_block_stop", index=0),
            event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None},
                  usage={"output_tokens": call.output_used}),
            event("message_stop"),
        ]


def _pieces(text):
    return [text[start:start + 8] for start in range(0, len(text), 8)]


FAMILIES = (OpenAI, Anthropic)
