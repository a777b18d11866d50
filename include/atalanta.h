/*
 * Functions of a WebAssembly module for Atalanta, in C and C++. Copy this file; docs/functions.md says how a function is called.
 *
 *   static int greet(const char *arguments) { printf("\"Hello, %s!\"", ...); return 0; }
 *   static const atalanta_function functions[] = {{"greet", greet, "{\"parameters\":[{\"name\":\"who\",\"type\":{\"type\":\"string\"}}],\"result\":{\"type\":\"string\"}}"}};
 *   int main(int argc, char **argv) { return atalanta_serve(argc, argv, functions, 1); }
 *
 * Build it for wasip1: clang --target=wasm32-wasi -O2 -o greet.wasm greet.c
 */
#ifndef ATALANTA_H
#define ATALANTA_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a function is given: its arguments as a JSON array; bytes, where it takes them, are on stdin and `null` in the array. It prints its result to
   stdout, and returns 0, or what atalanta_throw returns. */
typedef int (*atalanta_call)(const char *arguments);

typedef struct {
  const char *name;
  atalanta_call call;
  /* Of this function, as JSON: {"parameters": […], "result": …}. */
  const char *description;
} atalanta_function;

/* Ends the function with an error that its caller gets by this name. `data` is JSON, or NULL. */
static inline int atalanta_throw(const char *name, const char *message, const char *data) {
  fprintf(stderr, "\natalanta-error: {\"name\":\"%s\",\"message\":\"", name);
  for (const unsigned char *at = (const unsigned char *)message; *at; at++) {
    if (*at == '"' || *at == '\\') fprintf(stderr, "\\%c", *at);
    else if (*at < 32) fprintf(stderr, "\\u%04x", *at);
    else fputc(*at, stderr);
  }
  fprintf(stderr, data ? "\",\"data\":%s}\n" : "\"}\n", data);
  return 1;
}

/* All of stdin, ended by a zero byte that is not counted. NULL when there is no memory left. */
static inline char *atalanta_input(size_t *length) {
  size_t size = 0, room = 4096;
  char *bytes = (char *)malloc(room + 1);
  while (bytes) {
    ssize_t got = read(0, bytes + size, room - size);
    if (got <= 0) break;
    size += (size_t)got;
    if (size == room) bytes = (char *)realloc(bytes, (room *= 2) + 1);
  }
  if (bytes) bytes[size] = 0;
  if (length) *length = size;
  return bytes;
}

/* Calls the function that is asked for, or says which there are. */
static inline int atalanta_serve(int argc, char **argv, const atalanta_function *functions, size_t count) {
  const char *name = argc > 1 ? argv[1] : "";
  if (strcmp(name, "atalanta:describe") == 0) {
    printf("{\"version\":1,\"functions\":{");
    for (size_t at = 0; at < count; at++) printf("%s\"%s\":%s", at ? "," : "", functions[at].name, functions[at].description);
    printf("}}");
    return 0;
  }
  for (size_t at = 0; at < count; at++) {
    if (strcmp(name, functions[at].name) != 0) continue;
    char *arguments = argc > 2 ? argv[2] : atalanta_input(NULL);
    return arguments ? functions[at].call(arguments) : atalanta_throw("OutOfMemory", "there is no memory left", NULL);
  }
  return atalanta_throw("NoSuchFunction", name, NULL);
}

#ifdef __cplusplus
}
#endif

#endif
