// Three functions: one of a value, one of bytes, one that gives its result piece by piece.
#include <ctype.h>

#include "../../include/atalanta.h"

// greet(who: string): string
static int greet(const char *arguments) {
  const char *start = strchr(arguments, '"');
  const char *end = start ? strrchr(arguments, '"') : NULL;
  if (!start || end == start) return atalanta_throw("TypeError", "greet wants a name", arguments);
  // What stands in the quotes is JSON already.
  printf("\"Hello, %.*s!\"", (int)(end - start - 1), start + 1);
  return 0;
}

// shout(text: bytes): bytes
static int shout(const char *arguments) {
  (void)arguments;
  size_t length = 0;
  char *text = atalanta_input(&length);
  for (size_t at = 0; at < length; at++) putchar(toupper((unsigned char)text[at]));
  return 0;
}

// words(text: bytes): pieces of {word, length}
static int words(const char *arguments) {
  (void)arguments;
  char word[256];
  size_t length = 0;
  for (int c = getchar();; c = getchar()) {
    if (c != EOF && isalnum(c)) {
      if (length + 1 < sizeof word) word[length++] = (char)c;
      continue;
    }
    word[length] = 0;
    if (length > 0) printf("{\"word\":\"%s\",\"length\":%zu}\n", word, length);
    fflush(stdout);
    length = 0;
    if (c == EOF) return 0;
  }
}

static const atalanta_function functions[] = {
    {"greet", greet,
     "{\"description\":\"Greets somebody.\",\"parameters\":[{\"name\":\"who\",\"type\":{\"type\":\"string\"}}],"
     "\"result\":{\"type\":\"string\"},\"pure\":true}"},
    {"shout", shout, "{\"parameters\":[{\"name\":\"text\",\"type\":\"bytes\"}],\"result\":\"bytes\"}"},
    {"words", words,
     "{\"parameters\":[{\"name\":\"text\",\"type\":\"bytes\"}],\"stream\":\"both\",\"result\":{\"type\":\"object\",\"required\":[\"word\",\"length\"],"
     "\"properties\":{\"word\":{\"type\":\"string\"},\"length\":{\"type\":\"integer\"}}}}"},
};

int main(int argc, char **argv) {
  return atalanta_serve(argc, argv, functions, sizeof functions / sizeof functions[0]);
}
