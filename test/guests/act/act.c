/* The guest of test/workflows: its arguments are a small program, its commands separated by ";". */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void stop(const char *what) {
  fprintf(stderr, "act: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void put(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  if (!file || fputs(text, file) < 0 || fclose(file)) stop(path);
}

static void copy(const char *path, FILE *to) {
  char block[4096];
  size_t got;
  FILE *from = fopen(path, "r");
  if (!from) stop(path);
  while ((got = fread(block, 1, sizeof block, from)) > 0) fwrite(block, 1, got, to);
  fclose(from);
}

int main(int count, char **words) {
  for (int at = 1; at < count; at++) {
    char *argument[3] = {"", "", ""};
    const char *command = words[at];
    for (int given = 0; ++at < count && strcmp(words[at], ";");)
      if (given < 3) argument[given++] = words[at];
    if (!strcmp(command, "echo")) fputs(argument[0], stdout);
    else if (!strcmp(command, "line")) puts(argument[0]);
    else if (!strcmp(command, "error")) fprintf(stderr, "%s\n", argument[0]);
    else if (!strcmp(command, "write")) put(argument[0], argument[1]);
    else if (!strcmp(command, "mkdir")) { if (mkdir(argument[0], 0755)) stop(argument[0]); }
    else if (!strcmp(command, "cat")) copy(argument[0], stdout);
    else if (!strcmp(command, "stdin")) { for (int byte; (byte = getchar()) != EOF;) putchar(byte); }
    else if (!strcmp(command, "env")) fputs(getenv(argument[0]) ? getenv(argument[0]) : "", stdout);
    else if (!strcmp(command, "list")) {
      for (int item = 0; item < atoi(argument[0]); item++) printf("%s%d", item ? "," : "[", item);
      fputs(atoi(argument[0]) ? "]" : "[]", stdout);
    } else if (!strcmp(command, "sleep")) usleep((useconds_t)atoi(argument[0]) * 1000);
    else if (!strcmp(command, "unless")) { if (strcmp(argument[0], argument[1])) return atoi(argument[2]); }
    else if (!strcmp(command, "below")) { if (atoi(argument[0]) < atoi(argument[1])) return atoi(argument[2]); }
    else if (!strcmp(command, "exit")) return atoi(argument[0]);
    else if (!strcmp(command, "trap")) __builtin_trap();
    else {
      fprintf(stderr, "act: unknown command \"%s\"\n", command);
      return 64;
    }
  }
  return 0;
}
