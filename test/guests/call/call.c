/* Calls any preview 1 function with any numbers: a line of stdin is one step.
 *   set OFFSET HEX    bytes into the scratch memory
 *   get OFFSET COUNT  prints bytes of it as hex
 *   call NAME ARGUMENT...  prints the errno; @N is the address of scratch byte N */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned char scratch[1 << 18] __attribute__((aligned(16)));

#include "../preview1.h"

static int digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

int main(void) {
  static char line[1 << 17];
  while (fgets(line, sizeof line, stdin)) {
    char *what = strtok(line, " \n"), *first = strtok(NULL, " \n"), *next;
    if (!what || !first) continue;
    if (!strcmp(what, "set")) {
      unsigned char *to = scratch + atol(first);
      next = strtok(NULL, " \n");
      for (; next && next[0] && next[1]; next += 2) *to++ = (unsigned char)(digit(next[0]) * 16 + digit(next[1]));
    } else if (!strcmp(what, "get")) {
      long count = atol(strtok(NULL, " \n"));
      for (long i = 0; i < count; i++) printf("%02x", scratch[atol(first) + i]);
      puts("");
    } else {
      int64_t a[9] = {0};
      for (int i = 0; i < 9 && (next = strtok(NULL, " \n")); i++)
        a[i] = *next == '@' ? (int64_t)(intptr_t)(scratch + atol(next + 1)) : (int64_t)strtoull(next, NULL, 0);
      size_t i = 0, count = sizeof functions / sizeof *functions;
      while (i < count && strcmp(functions[i].name, first)) i++;
      if (i == count) return 64;
      printf("%d\n", (int)functions[i].call(a));
      fflush(stdout);
    }
  }
  return 0;
}
