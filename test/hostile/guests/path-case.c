#include "hostile.h"

/* Names are bytes: neither case nor Unicode's ways to write one letter make two names the same, and no byte looks like a dot or a slash. */
static void exists(const char *path) {
  char stat[64];
  say_path(path, length_of(path)), say(": "), say_errno(path_filestat_get(top, follow, path, length_of(path), stat)), put('\n');
}
void _start(void) {
  make_file("a", "lower");
  exists("A");
  make_file("\xc3\xa9", "one code point");
  exists("e\xcc\x81");
  make_file("ss", "two letters");
  exists("\xc3\x9f");
  exists("\xe1\xba\x9e");
  make_file("k", "a letter");
  exists("\xe2\x84\xaa");               /* KELVIN SIGN */
  exists("\xef\xbc\x8e\xef\xbc\x8e/secret"); /* FULLWIDTH FULL STOP */
  exists("\xe2\x80\xa5/secret");         /* TWO DOT LEADER */
  exists("..\xe2\x88\x95secret");        /* DIVISION SLASH */
  exists("..\\secret");
  exists("a ");
  exists("a.");
  exists("a\xe2\x80\x8b");               /* ZERO WIDTH SPACE */
  exists("a::$DATA");
}
