/* words split TEXT FOLDER   one file per paragraph, and the list of their names as JSON on stdout
 * words count FILE          the number of words, and the longest, as JSON on stdout
 * words join PAGE           a page with a table of the JSON list on stdin */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int fail(const char *what) {
  fprintf(stderr, "words: %s: %s\n", what, strerror(errno));
  return 1;
}

static int split(const char *from, const char *folder) {
  FILE *text = fopen(from, "r");
  if (!text) return fail(from);
  if (mkdir(folder, 0755) && errno != EEXIST) return fail(folder);
  char line[4096], path[4096];
  FILE *part = NULL;
  int count = 0;
  putchar('[');
  while (fgets(line, sizeof line, text)) {
    int blank = strspn(line, " \t\r\n") == strlen(line);
    if (blank && part) {
      fclose(part);
      part = NULL;
    }
    if (blank) continue;
    if (!part) {
      printf("%s\"%03d.txt\"", count ? "," : "", count + 1);
      snprintf(path, sizeof path, "%s/%03d.txt", folder, ++count);
      part = fopen(path, "w");
      if (!part) return fail(path);
    }
    fputs(line, part);
  }
  if (part) fclose(part);
  puts("]");
  return fclose(text) ? fail(from) : 0;
}

static int count(const char *from) {
  FILE *text = fopen(from, "r");
  if (!text) return fail(from);
  char word[256] = "", longest[256] = "";
  size_t length = 0;
  long words = 0;
  for (int letter; (letter = fgetc(text)) != EOF || length > 0;) {
    if (letter != EOF && isalpha(letter)) {
      if (length + 1 < sizeof word) word[length++] = (char)letter;
      continue;
    }
    if (length > 0) {
      word[length] = 0;
      words++;
      if (length > strlen(longest)) strcpy(longest, word);
      length = 0;
    }
    if (letter == EOF) break;
  }
  printf("{\"words\":%ld,\"longest\":\"%s\"}\n", words, longest);
  return 0;
}

static int join(const char *to) {
  if (!freopen(to, "w", stdout)) return fail(to);
  static char json[1 << 20];
  size_t size = fread(json, 1, sizeof json - 1, stdin);
  json[size] = 0;
  long total = 0, parts = 0;
  puts("<!doctype html><meta charset=utf-8><title>Words</title><table><tr><th>Part<th>Words<th>Longest");
  for (char *at = json; (at = strstr(at, "\"words\":")); parts++) {
    char longest[256] = "";
    long words = strtol(at + 8, &at, 10);
    char *name = strstr(at, "\"longest\":\"");
    if (name) sscanf(name + 11, "%255[A-Za-z]", longest);
    printf("<tr><td>%ld<td>%ld<td>%s\n", parts + 1, words, longest);
    total += words;
  }
  printf("</table><p>%ld words in %ld parts\n", total, parts);
  return 0;
}

int main(int arguments, char **argument) {
  const char *what = arguments > 1 ? argument[1] : "";
  if (!strcmp(what, "split") && arguments == 4) return split(argument[2], argument[3]);
  if (!strcmp(what, "count") && arguments == 3) return count(argument[2]);
  if (!strcmp(what, "join") && arguments == 3) return join(argument[2]);
  fputs("usage: words split TEXT FOLDER | count FILE | join PAGE\n", stderr);
  return 64;
}
