/* batch_files.h - the files of batch.c: requests in, results out, what earlier runs left.

   A request is known by its line number in INPUT. A result is one line of OUTPUT, written by one
   write(2); what a crash tore off is cut away at the next start. No line is read before the line
   WINDOW earlier is finished, so OUTPUT is in order but for WINDOW lines, and INPUT and OUTPUT can
   be read side by side: memory does not depend on their length. */

#ifndef BATCH_FILES_H
#define BATCH_FILES_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define WINDOW 4096
#define LINE_BYTES ((size_t)32 << 20)   /* longest line of INPUT, largest response */
#define RESULT_BYTES (2 * LINE_BYTES)   /* longest line of OUTPUT */
#define ID_BYTES 512
#define TOKENS_MAX (INT64_C(1) << 40)
#define COMPLAINTS_MAX 20

enum { EXIT_DONE, EXIT_FAILED, EXIT_INPUT, EXIT_REFUSED, EXIT_STOPPED, EXIT_IO };

#if defined(__GNUC__) || defined(__clang__)
#define LIKE_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define LIKE_PRINTF(text, first)
#endif

LIKE_PRINTF(2, 3) _Noreturn static void die(int code, const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("batch: ", stderr);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    va_end(values);
    exit(code);
}

/* ---- Text ------------------------------------------------------------------------------------ */

struct buffer {
    char *data;
    size_t length, room;
};

static void *must(void *memory) {
    if (memory == NULL) die(EXIT_IO, "out of memory");
    return memory;
}

static void buffer_add(struct buffer *buffer, const char *data, size_t length) {
    if (buffer->room - buffer->length < length) {
        buffer->room = 2 * (buffer->length + length) + 256;
        buffer->data = must(realloc(buffer->data, buffer->room));
    }
    if (length != 0) memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
}

static void buffer_puts(struct buffer *buffer, const char *text) { buffer_add(buffer, text, strlen(text)); }

static void buffer_json(struct buffer *buffer, json_t *value) {
    char *text = must(json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY));
    buffer_puts(buffer, text);
    free(text);
}

/* Adds valid JSON without the white space between its tokens: numbers keep all their digits. */
static void buffer_compact(struct buffer *buffer, const char *json, size_t length) {
    bool inside = false;
    for (size_t at = 0; at < length; at++) {
        char c = json[at];
        if (inside && c == '\\') {
            buffer_add(buffer, json + at++, 2);
            continue;
        }
        if (c == '"') inside = !inside;
        if (inside || !(c == ' ' || c == '\t' || c == '\n' || c == '\r')) buffer_add(buffer, &c, 1);
    }
}

enum line { LINE_READ, LINE_TORN, LINE_LONG, LINE_END };

/* Reads to the next newline, which is dropped. LINE_TORN: the file ended first. LINE_LONG: the line
   has more than limit bytes; the rest of it was skipped. */
static enum line line_read(FILE *file, struct buffer *text, size_t limit) {
    bool longer = false;
    int c;
    text->length = 0;
    while ((c = getc_unlocked(file)) != EOF && c != '\n') {
        char byte = (char)c;
        if (text->length == limit) longer = true;
        else buffer_add(text, &byte, 1);
    }
    if (c == EOF && text->length == 0) return LINE_END;
    if (longer) return LINE_LONG;
    return c == EOF ? LINE_TORN : LINE_READ;
}

/* ---- Requests -------------------------------------------------------------------------------- */

struct request {
    uint64_t line;
    char *custom_id;
    char *body;
    size_t body_bytes;
    uint64_t input_tokens, output_tokens; /* what the server charges for it */
};

static void request_free(struct request *request) {
    free(request->custom_id);
    free(request->body);
    memset(request, 0, sizeof *request);
}

/* What a request is given that does not say it itself. */
struct defaults {
    const char *model;
    uint64_t max_tokens;
};

struct complaint {
    int column; /* 0: of the whole line */
    char text[256];
};

LIKE_PRINTF(2, 3) static bool wrong(struct complaint *complaint, const char *format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(complaint->text, sizeof complaint->text, format, values);
    va_end(values);
    return false;
}

static uint64_t string_characters(const json_t *string) {
    const char *text = json_string_value(string);
    uint64_t count = 0;
    for (size_t at = 0, length = json_string_length(string); at < length; at++)
        count += ((unsigned char)text[at] & 0xc0) != 0x80;
    return count;
}

/* The characters of a message's content: a string, or blocks of which those with a text count. */
static uint64_t content_characters(const json_t *content) {
    uint64_t count = 0;
    size_t index;
    json_t *block;
    if (json_is_string(content)) return string_characters(content);
    json_array_foreach(content, index, block) {
        const json_t *text = json_object_get(block, "text");
        count += content_characters(json_is_string(text) ? text : json_object_get(block, "content"));
    }
    return count;
}

static bool read_max_tokens(const json_t *body, uint64_t otherwise, uint64_t *tokens, struct complaint *complaint) {
    static const char *const names[] = {"max_completion_tokens", "max_tokens"};
    *tokens = otherwise;
    for (size_t i = 0; i < 2; i++) {
        const json_t *value = json_object_get(body, names[i]);
        if (value == NULL || json_is_null(value)) continue;
        if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > TOKENS_MAX)
            return wrong(complaint, "\"%s\" is not a positive integer", names[i]);
        *tokens = (uint64_t)json_integer_value(value);
        return true;
    }
    return true;
}

static json_t *prompt_body(json_t *prompt, uint64_t max_tokens) {
    return must(json_pack("{s:[{s:s,s:O}],s:I}", "messages", "role", "user", "content", prompt, "max_tokens",
                          (json_int_t)max_tokens));
}

/* Completes the body and fills the request from it. */
static bool read_body(json_t *body, const struct defaults *defaults, struct request *request, struct complaint *complaint) {
    json_t *messages = json_object_get(body, "messages"), *model = json_object_get(body, "model"), *message;
    uint64_t characters = 0;
    size_t index;
    if (json_is_true(json_object_get(body, "stream"))) return wrong(complaint, "\"stream\" is true: a result is one JSON object");
    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return wrong(complaint, "\"messages\" of the body is not a list with a message in it");
    json_array_foreach(messages, index, message) {
        if (!json_is_object(message)) return wrong(complaint, "\"messages\"[%zu] is not an object", index);
        characters += content_characters(json_object_get(message, "content"));
    }
    if (model == NULL && defaults->model == NULL) return wrong(complaint, "no \"model\", and no --model was given");
    if (model == NULL) json_object_set_new(body, "model", must(json_string(defaults->model)));
    else if (!json_is_string(model)) return wrong(complaint, "\"model\" is not a string");
    if (!read_max_tokens(body, defaults->max_tokens, &request->output_tokens, complaint)) return false;
    request->input_tokens = (characters + 3) / 4;
    request->body = must(json_dumps(body, JSON_COMPACT));
    request->body_bytes = strlen(request->body);
    return true;
}

/* custom_id becomes a header, so it may hold no control characters. */
static bool read_custom_id(const json_t *id, struct request *request, struct complaint *complaint) {
    const char *text = json_string_value(id);
    char line[32];
    if (id == NULL) {
        snprintf(line, sizeof line, "line-%" PRIu64, request->line);
        request->custom_id = must(strdup(line));
        return true;
    }
    if (text == NULL) return wrong(complaint, "\"custom_id\" is not a string");
    if (json_string_length(id) == 0 || json_string_length(id) > ID_BYTES)
        return wrong(complaint, "\"custom_id\" has %zu bytes, not 1 to %d", json_string_length(id), ID_BYTES);
    for (size_t i = 0; i < json_string_length(id); i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) return wrong(complaint, "\"custom_id\" has a control character");
    request->custom_id = must(strdup(text));
    return true;
}

static bool read_object(json_t *object, const struct defaults *defaults, struct request *request, struct complaint *complaint) {
    json_t *prompt = json_object_get(object, "prompt"), *body = json_object_get(object, "body");
    const json_t *url = json_object_get(object, "url");
    const char *key;
    json_t *other;
    if (!json_is_object(object)) return wrong(complaint, "not a JSON object");
    if (!read_custom_id(json_object_get(object, "custom_id"), request, complaint)) return false;
    if (prompt == NULL && body == NULL) return wrong(complaint, "neither \"prompt\" nor \"body\"");
    if (prompt != NULL && body != NULL) return wrong(complaint, "both \"prompt\" and \"body\"");
    if (prompt != NULL && !json_is_string(prompt)) return wrong(complaint, "\"prompt\" is not a string");
    if (body != NULL && !json_is_object(body)) return wrong(complaint, "\"body\" is not an object");
    if (url != NULL && (!json_is_string(url) || strcmp(json_string_value(url), "/v1/chat/completions") != 0))
        return wrong(complaint, "\"url\" is not \"/v1/chat/completions\"");
    if (body != NULL) return read_body(body, defaults, request, complaint);
    json_object_foreach(object, key, other) /* they would be ignored */
        if (strcmp(key, "prompt") != 0 && strcmp(key, "custom_id") != 0)
            return wrong(complaint, "\"%s\" beside \"prompt\": parameters go into a \"body\"", key);
    body = prompt_body(prompt, defaults->max_tokens);
    bool fine = read_body(body, defaults, request, complaint);
    json_decref(body);
    return fine;
}

/* Fills a request from a line of INPUT; on error it is empty. */
static bool request_read(const struct buffer *text, const struct defaults *defaults, struct request *request,
                         struct complaint *complaint) {
    json_error_t error;
    json_t *object = json_loadb(text->data, text->length, JSON_ALLOW_NUL, &error);
    complaint->column = 0;
    if (object == NULL) {
        complaint->column = error.column;
        return wrong(complaint, "%s", error.text);
    }
    bool fine = read_object(object, defaults, request, complaint);
    json_decref(object);
    if (!fine) request_free(request);
    return fine;
}

/* ---- Results of earlier runs ----------------------------------------------------------------- */

struct result {
    uint64_t line; /* of INPUT; 0: none */
    uint64_t id;   /* hash of custom_id */
    off_t at;
    size_t bytes;
    bool failed;
};

/* A file of results, read beside INPUT. */
struct results {
    const char *name;
    FILE *file; /* null: there is none */
    off_t at, end;
    uint64_t record;
    struct buffer text;
    struct result ahead; /* the next one, if it is too far ahead to be kept */
    struct result window[WINDOW];
};

static uint64_t id_hash(const char *id) { /* FNV-1a */
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *id != '\0'; id++) hash = (hash ^ (unsigned char)*id) * UINT64_C(0x100000001b3);
    return hash;
}

/* Reads one result into ahead; its line is 0 at the end. */
static void results_advance(struct results *results) {
    struct result *next = &results->ahead;
    json_t *object, *line, *id;
    next->line = 0;
    if (results->at >= results->end) return;
    enum line got = line_read(results->file, &results->text, RESULT_BYTES);
    if (got == LINE_END) return;
    results->record++;
    next->at = results->at;
    next->bytes = results->text.length + 1;
    results->at += (off_t)next->bytes;
    object = got == LINE_READ ? json_loadb(results->text.data, results->text.length, JSON_ALLOW_NUL, NULL) : NULL;
    line = json_object_get(object, "line");
    id = json_object_get(object, "custom_id");
    if (!json_is_integer(line) || json_integer_value(line) < 1 || !json_is_string(id))
        die(EXIT_INPUT, "%s:%" PRIu64 ": not a result of this program", results->name, results->record);
    next->line = (uint64_t)json_integer_value(line);
    next->id = id_hash(json_string_value(id));
    next->failed = !json_is_null(json_object_get(object, "error"));
    json_decref(object);
}

static void results_rewind(struct results *results) {
    memset(results->window, 0, sizeof results->window);
    results->at = 0;
    results->record = 0;
    if (results->file == NULL) return;
    rewind(results->file);
    results_advance(results);
}

/* The result of a line of INPUT, or null. Lines are asked for in rising order. */
static const struct result *results_find(struct results *results, uint64_t line) {
    while (results->ahead.line != 0 && results->ahead.line < line + WINDOW) {
        struct result *place = &results->window[results->ahead.line % WINDOW];
        if (results->ahead.line < line || place->line == results->ahead.line)
            die(EXIT_INPUT, "%s:%" PRIu64 ": a second result for line %" PRIu64 ", or one out of place", results->name,
                results->record, results->ahead.line);
        *place = results->ahead;
        results_advance(results);
    }
    const struct result *found = &results->window[line % WINDOW];
    return found->line == line ? found : NULL;
}

/* A result for a line after the last, or 0. */
static uint64_t results_beyond(const struct results *results, uint64_t last) {
    for (size_t i = 0; i < WINDOW; i++)
        if (results->window[i].line > last) return results->window[i].line;
    return results->ahead.line;
}

/* ---- Input ----------------------------------------------------------------------------------- */

struct source {
    const char *name;
    FILE *file;
    uint64_t line;
    struct buffer text;
    struct defaults defaults;
    struct results done;     /* OUTPUT as it was at the start */
    struct results previous; /* what --retry-failed copies from */
    uint64_t malformed;
    bool quiet;              /* what is malformed has been said */
};

enum next {
    NEXT_NEW,       /* request is to be sent */
    NEXT_EARLIER,   /* finished by an earlier run: see result */
    NEXT_COPY,      /* finished before --retry-failed: see result */
    NEXT_BLANK,
    NEXT_MALFORMED, /* said and counted */
    NEXT_END
};

static enum next source_complain(struct source *source, int column, const char *text) {
    char where[32] = "";
    source->malformed++;
    if (source->quiet || source->malformed > COMPLAINTS_MAX + 1) return NEXT_MALFORMED;
    if (source->malformed == COMPLAINTS_MAX + 1) {
        fprintf(stderr, "%s: more lines like these\n", source->name);
        return NEXT_MALFORMED;
    }
    if (column > 0) snprintf(where, sizeof where, ":%d", column);
    fprintf(stderr, "%s:%" PRIu64 "%s: %s\n", source->name, source->line, where, text);
    return NEXT_MALFORMED;
}

_Noreturn static void input_changed(const struct source *source, const struct results *results, uint64_t line) {
    die(EXIT_INPUT, "%s: INPUT was changed: line %" PRIu64 " is not the one whose result is in %s", source->name, line,
        results->name);
}

static enum next source_end(struct source *source) {
    uint64_t beyond = results_beyond(&source->done, source->line);
    if (ferror(source->file)) die(EXIT_IO, "%s: %s", source->name, strerror(errno));
    if (beyond != 0) input_changed(source, &source->done, beyond);
    beyond = results_beyond(&source->previous, source->line);
    if (beyond != 0) input_changed(source, &source->previous, beyond);
    return NEXT_END;
}

static bool is_blank(const struct buffer *text) {
    size_t at = 0;
    while (at < text->length && strchr(" \t\r", text->data[at]) != NULL && text->data[at] != '\0') at++;
    return at == text->length;
}

static void skip_byte_order_mark(struct source *source) {
    if (source->line == 1 && source->text.length >= 3 && memcmp(source->text.data, "\xef\xbb\xbf", 3) == 0) {
        source->text.length -= 3;
        memmove(source->text.data, source->text.data + 3, source->text.length);
    }
}

/* What became of the request in earlier runs. */
static enum next source_compare(struct source *source, struct request *request, const struct result **result) {
    const struct result *done = results_find(&source->done, request->line);
    const struct result *copy = results_find(&source->previous, request->line);
    uint64_t id = id_hash(request->custom_id);
    if (done != NULL && done->id != id) input_changed(source, &source->done, request->line);
    if (copy != NULL && copy->id != id) input_changed(source, &source->previous, request->line);
    *result = done != NULL ? done : copy;
    if (done == NULL && (copy == NULL || copy->failed) && source->done.ahead.line == 0) return NEXT_NEW;
    if (done != NULL || (copy != NULL && !copy->failed)) {
        request_free(request);
        return done != NULL ? NEXT_EARLIER : NEXT_COPY;
    }
    request_free(request);
    return source_complain(source, 0, "was malformed when an earlier run passed it; --retry-failed sends it");
}

/* Reads the next line. */
static enum next source_next(struct source *source, struct request *request, const struct result **result) {
    struct complaint complaint = {0, ""};
    enum line got = line_read(source->file, &source->text, LINE_BYTES);
    bool blank, fine = false;
    if (got == LINE_END) return source_end(source);
    source->line++;
    skip_byte_order_mark(source);
    blank = got != LINE_LONG && is_blank(&source->text);
    memset(request, 0, sizeof *request);
    request->line = source->line;
    if (got == LINE_LONG) wrong(&complaint, "longer than %zu bytes", LINE_BYTES);
    else if (!blank) fine = request_read(&source->text, &source->defaults, request, &complaint);
    if (fine) return source_compare(source, request, result);
    if (results_find(&source->done, source->line) != NULL) input_changed(source, &source->done, source->line);
    if (results_find(&source->previous, source->line) != NULL) input_changed(source, &source->previous, source->line);
    return blank ? NEXT_BLANK : source_complain(source, complaint.column, complaint.text);
}

static void source_rewind(struct source *source) {
    rewind(source->file);
    source->line = 0;
    source->malformed = 0;
    results_rewind(&source->done);
    results_rewind(&source->previous);
}

/* ---- Output ---------------------------------------------------------------------------------- */

struct output {
    const char *name;
    int file;
    char *previous_name; /* OUTPUT.previous */
    int previous;        /* -1: there is none */
    bool unsynced;
    int64_t age_s;       /* since the last result of an earlier run; -1: there is none */
};

static void output_write(struct output *output, const char *data, size_t bytes) {
    ssize_t written;
    do written = write(output->file, data, bytes);
    while (written < 0 && errno == EINTR);
    if (written != (ssize_t)bytes) die(EXIT_IO, "%s: %s", output->name, written < 0 ? strerror(errno) : "no space left");
    output->unsynced = true;
}

static void output_sync(struct output *output) {
    if (output->unsynced && fsync(output->file) != 0) die(EXIT_IO, "%s: %s", output->name, strerror(errno));
    output->unsynced = false;
}

static void output_copy(struct output *output, const struct result *result) {
    char *line = must(malloc(result->bytes));
    if (pread(output->previous, line, result->bytes, result->at) != (ssize_t)result->bytes)
        die(EXIT_IO, "%s: cannot be read", output->previous_name);
    output_write(output, line, result->bytes);
    free(line);
}

static int open_locked(const char *name) {
    struct stat status;
    int file = open(name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (file < 0 || fstat(file, &status) != 0) die(EXIT_IO, "%s: %s", name, strerror(errno));
    if (!S_ISREG(status.st_mode)) die(EXIT_INPUT, "%s: not a regular file; OUTPUT must be one", name);
    if (flock(file, LOCK_EX | LOCK_NB) != 0) die(EXIT_IO, "%s: in use by another run", name);
    return file;
}

/* Whether what stands at a place of a file begins as a result does; whole: up to its line number. */
static bool begins_as_result(int file, off_t at, bool whole) {
    static const char start[] = "{\"custom_id\":";
    char head[4096];
    ssize_t got = pread(file, head, sizeof head - 1, at);
    size_t length = got > 0 ? (size_t)got : 0;
    head[length] = '\0';
    if (!whole && head[0] == '\0') return true; /* blocks that were never written */
    if (strncmp(head, start, length < sizeof start - 1 ? length : sizeof start - 1) != 0) return false;
    return !whole || strstr(head, ",\"line\":") != NULL;
}

/* Cuts away what follows the last newline: a result that was being written when the machine stopped.
   Anything else is somebody's own file. Returns the length. */
static off_t cut_torn(const char *name, int file) {
    char piece[4096];
    off_t end = lseek(file, 0, SEEK_END), at = end;
    while (at > 0) {
        off_t start = at > (off_t)sizeof piece ? at - (off_t)sizeof piece : 0;
        ssize_t got = pread(file, piece, (size_t)(at - start), start), i;
        if (got != at - start) die(EXIT_IO, "%s: cannot be read", name);
        for (i = got; i > 0 && piece[i - 1] != '\n'; i--) {}
        at = start + i;
        if (i > 0) break;
    }
    if (at != end && !(begins_as_result(file, at, at == 0) && begins_as_result(file, 0, true)))
        die(EXIT_INPUT, "%s: not a file of results: is it OUTPUT that was meant? nothing was changed", name);
    if (at != end && ftruncate(file, at) != 0) die(EXIT_IO, "%s: %s", name, strerror(errno));
    return at;
}

static void results_open(struct results *results, const char *name, off_t end) {
    results->name = name;
    results->end = end;
    results->file = fopen(name, "r");
    if (results->file == NULL) die(EXIT_IO, "%s: %s", name, strerror(errno));
    results_rewind(results);
}

/* With retry_failed OUTPUT is set aside as OUTPUT.previous; its good results are copied from there.
   A run that was stopped meanwhile finds both. */
static void output_open(struct output *output, struct source *source, const char *name, bool retry_failed) {
    struct stat status;
    size_t room = strlen(name) + sizeof ".previous";
    off_t end;
    output->name = name;
    output->previous_name = must(malloc(room));
    snprintf(output->previous_name, room, "%s.previous", name);
    output->previous = open(output->previous_name, O_RDONLY | O_CLOEXEC);
    output->file = open_locked(name);
    end = cut_torn(name, output->file);
    if (fstat(output->file, &status) != 0) die(EXIT_IO, "%s: %s", name, strerror(errno));
    output->age_s = end > 0 ? (int64_t)time(NULL) - (int64_t)status.st_mtime : -1;
    if (retry_failed && output->previous < 0 && end > 0) {
        if (rename(name, output->previous_name) != 0) die(EXIT_IO, "%s: %s", name, strerror(errno));
        output->previous = output->file; /* stays locked */
        output->file = open_locked(name);
        end = 0;
    }
    results_open(&source->done, name, end);
    if (output->previous >= 0 && fstat(output->previous, &status) == 0)
        results_open(&source->previous, output->previous_name, status.st_size);
}

static void output_finish(struct output *output, bool all_done) {
    output_sync(output);
    if (all_done && output->previous >= 0 && unlink(output->previous_name) != 0)
        die(EXIT_IO, "%s: %s", output->previous_name, strerror(errno));
}

#endif
