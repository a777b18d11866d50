// Functions of every kind, by the calling convention of docs/functions.md: argv is [program, function, arguments as JSON], stdin is the bytes
// argument, or the arguments where there is none; stdout is the result.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../../include/atalanta_http.h"

__asm__(".section \".custom_section.atalanta:functions\",\"\",@\n"
        ".ascii \"{\\\"version\\\":1,\\\"functions\\\":{"
        "\\\"greet\\\":{\\\"description\\\":\\\"Greets somebody.\\\",\\\"parameters\\\":[{\\\"name\\\":\\\"name\\\",\\\"type\\\":{\\\"type\\\":\\\"string\\\"}}],\\\"result\\\":{\\\"type\\\":\\\"string\\\"},\\\"pure\\\":true},"
        "\\\"add\\\":{\\\"parameters\\\":[{\\\"name\\\":\\\"left\\\",\\\"type\\\":{\\\"type\\\":\\\"number\\\"}},{\\\"name\\\":\\\"right\\\",\\\"type\\\":{\\\"type\\\":\\\"number\\\"}}],\\\"result\\\":{\\\"type\\\":\\\"number\\\"}},"
        "\\\"same\\\":{\\\"parameters\\\":[{\\\"name\\\":\\\"value\\\",\\\"type\\\":{}}],\\\"result\\\":{}},"
        "\\\"upper\\\":{\\\"parameters\\\":[{\\\"name\\\":\\\"text\\\",\\\"type\\\":\\\"bytes\\\"},{\\\"name\\\":\\\"options\\\",\\\"type\\\":{\\\"type\\\":\\\"object\\\",\\\"properties\\\":{\\\"first\\\":{\\\"type\\\":\\\"integer\\\"}}},\\\"optional\\\":true}],\\\"result\\\":\\\"bytes\\\"},"
        "\\\"pipe\\\":{\\\"parameters\\\":[{\\\"name\\\":\\\"input\\\",\\\"type\\\":\\\"bytes\\\"}],\\\"result\\\":\\\"bytes\\\",\\\"stream\\\":\\\"both\\\"},"
        "\\\"count\\\":{\\\"parameters\\\":[{\\\"name\\\":\\\"to\\\",\\\"type\\\":{\\\"type\\\":\\\"integer\\\"}},{\\\"name\\\":\\\"pauseMs\\\",\\\"type\\\":{\\\"type\\\":\\\"integer\\\"},\\\"optional\\\":true}],\\\"result\\\":{\\\"type\\\":\\\"object\\\",\\\"properties\\\":{\\\"n\\\":{\\\"type\\\":\\\"integer\\\"}},\\\"required\\\":[\\\"n\\\"]},\\\"stream\\\":\\\"result\\\"},"
        "\\\"fail\\\":{\\\"parameters\\\":[{\\\"name\\\":\\\"message\\\",\\\"type\\\":{\\\"type\\\":\\\"string\\\"}}]},"
        "\\\"exit\\\":{\\\"parameters\\\":[{\\\"name\\\":\\\"code\\\",\\\"type\\\":{\\\"type\\\":\\\"integer\\\"}}]},"
        "\\\"trap\\\":{\\\"parameters\\\":[]},"
        "\\\"spin\\\":{\\\"parameters\\\":[]},"
        "\\\"grow\\\":{\\\"parameters\\\":[]},"
        "\\\"nonsense\\\":{\\\"parameters\\\":[],\\\"result\\\":{}},"
        "\\\"sleep\\\":{\\\"parameters\\\":[{\\\"name\\\":\\\"ms\\\",\\\"type\\\":{\\\"type\\\":\\\"integer\\\"}}],\\\"result\\\":{\\\"type\\\":\\\"integer\\\"}},"
        "\\\"environment\\\":{\\\"parameters\\\":[{\\\"name\\\":\\\"name\\\",\\\"type\\\":{\\\"type\\\":\\\"string\\\"}}],\\\"result\\\":{\\\"type\\\":[\\\"string\\\",\\\"null\\\"]}},"
        "\\\"unique\\\":{\\\"description\\\":\\\"Takes its time and gives its word back, with a number that is another one each time.\\\",\\\"parameters\\\":[{\\\"name\\\":\\\"ms\\\",\\\"type\\\":{\\\"type\\\":\\\"integer\\\"}},{\\\"name\\\":\\\"word\\\",\\\"type\\\":{\\\"type\\\":\\\"string\\\"}}],\\\"result\\\":{\\\"type\\\":\\\"string\\\"}},"
        "\\\"relay\\\":{\\\"description\\\":\\\"Calls another function: POST to a path of the host for calls.\\\",\\\"parameters\\\":[{\\\"name\\\":\\\"url\\\",\\\"type\\\":{\\\"type\\\":\\\"string\\\"}},{\\\"name\\\":\\\"given\\\",\\\"type\\\":\\\"bytes\\\"}],\\\"result\\\":\\\"bytes\\\"},"
        "\\\"nothing\\\":{\\\"parameters\\\":[]}"
        "}}\"\n"
        ".text\n");

static char input[1 << 16];
static size_t length;

static void read_input(void) {
  for (;;) {
    ssize_t got = read(0, input + length, sizeof input - 1 - length);
    if (got <= 0) break;
    length += (size_t)got;
  }
  input[length] = 0;
}

// The text of the first argument, which is a string without escapes.
static char *first_text(void) {
  char *start = strchr(input, '"');
  if (!start) return "";
  char *end = strchr(start + 1, '"');
  if (end) *end = 0;
  return start + 1;
}

static void pause_ms(long ms) {
  struct timespec wanted = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&wanted, NULL);
}

static int deeper(int depth) {
  if (depth == 0) __builtin_trap();
  return deeper(depth - 1) + 1;
}

static int pipe_through(void) {
  static char block[1 << 16];
  for (;;) {
    ssize_t got = read(0, block, sizeof block);
    if (got < 0) return 2;
    if (got == 0) return 0;
    for (ssize_t done = 0; done < got;) {
      ssize_t put = write(1, block + done, (size_t)(got - done));
      if (put <= 0) return 3;
      done += put;
    }
  }
}

// Calls another function with the JSON on stdin, and hands its answer on.
static int relay(const char *given) {
  static char url[4096], reason[1024], block[65536];
  const char *start = strchr(given, '"');
  if (!start || sscanf(start + 1, "%4095[^\"]", url) != 1) return 2;
  atalanta_http_response response;
  int32_t problem = atalanta_http_send("POST", 4, url, strlen(url), NULL, 0, input, length, 0, 0, &response);
  if (problem) {
    size_t size = 0;
    atalanta_http_error(reason, sizeof reason, &size);
    fprintf(stderr, "atalanta-error: {\"name\":\"CallFailed\",\"message\":\"%.*s\",\"data\":%d}\n", (int)size, reason, problem);
    return 1;
  }
  for (;;) {
    size_t size = 0;
    if (atalanta_http_read(response.handle, block, sizeof block, &size) || size == 0) break;
    fwrite(block, 1, size, response.status < 300 ? stdout : stderr);
  }
  if (response.status < 300) return 0;
  fprintf(stderr, "\natalanta-error: {\"name\":\"CallFailed\",\"message\":\"status %u\",\"data\":%u}\n", response.status, response.status);
  return 1;
}

// An export of its own, called instead of main.
__attribute__((export_name("exported"))) int exported(void) {
  printf("\"from the export\"");
  fflush(stdout);
  return 0;
}

int main(int argc, char **argv) {
  const char *name = argc > 1 ? argv[1] : "";
  if (strcmp(name, "pipe") == 0) return pipe_through();
  read_input();
  if (strcmp(name, "greet") == 0) printf("\"Hello, %s!\"", first_text());
  else if (strcmp(name, "add") == 0) {
    double left = 0, right = 0;
    if (sscanf(input, " [ %lf , %lf ]", &left, &right) != 2) {
      fprintf(stderr, "atalanta-error: {\"name\":\"TypeError\",\"message\":\"add wants two numbers\",\"data\":{\"got\":%zu}}\n", length);
      return 1;
    }
    printf("%.17g", left + right);
  } else if (strcmp(name, "same") == 0) {
    size_t start = 1, end = length;
    while (end > 0 && input[end - 1] != ']') end--;
    fwrite(input + start, 1, end - 1 - start, stdout);
  } else if (strcmp(name, "upper") == 0) {
    long first = (long)length;
    char *found = argc > 2 ? strstr(argv[2], "\"first\":") : NULL;
    if (found) first = atol(found + 8);
    for (long at = 0; at < (long)length; at++) {
      char c = input[at];
      putchar(at < first && c >= 'a' && c <= 'z' ? c - 32 : c);
    }
  } else if (strcmp(name, "count") == 0) {
    long to = 0, ms = 0;
    sscanf(input, " [ %ld , %ld", &to, &ms);
    for (long n = 1; n <= to; n++) {
      printf("{\"n\":%ld}\n", n);
      fflush(stdout);
      if (ms > 0) pause_ms(ms);
    }
  } else if (strcmp(name, "fail") == 0) {
    fprintf(stderr, "about to fail\natalanta-error: {\"name\":\"Refused\",\"message\":\"%s\",\"data\":{\"why\":\"asked to\"}}\n", first_text());
    return 1;
  } else if (strcmp(name, "exit") == 0) {
    fprintf(stderr, "plain words\n");
    return atoi(input + 1);
  } else if (strcmp(name, "trap") == 0) return deeper(3);
  else if (strcmp(name, "spin") == 0) {
    for (volatile long n = 0;; n++) {
    }
  } else if (strcmp(name, "grow") == 0) {
    for (volatile char *got; (got = malloc(1 << 20));) *got = 1;
    fprintf(stderr, "out of memory\n");
    abort();
  } else if (strcmp(name, "nonsense") == 0) printf("{not json");
  else if (strcmp(name, "sleep") == 0) {
    long ms = atol(input + 1);
    pause_ms(ms);
    printf("%ld", ms);
  } else if (strcmp(name, "unique") == 0) {
    long ms = atol(input + 1);
    if (ms > 0) pause_ms(ms);
    unsigned long long number = 0;
    getentropy(&number, sizeof number);
    printf("\"%s %016llx\"", first_text(), number);
  } else if (strcmp(name, "relay") == 0) {
    return relay(argc > 2 ? argv[2] : "");
  } else if (strcmp(name, "environment") == 0) {
    const char *value = getenv(first_text());
    if (value) printf("\"%s\"", value);
    else printf("null");
  } else if (strcmp(name, "nothing") != 0) {
    fprintf(stderr, "atalanta-error: {\"name\":\"NoSuchFunction\",\"message\":\"there is no function %s\"}\n", name);
    return 1;
  }
  return 0;
}
