#include "hostile.h"

/* Paths that are no UTF-8, above all longer ways to write a dot, a slash and a zero. */
void _start(void) {
  everywhere("\xc0\xae\xc0\xae/secret");
  everywhere("\xe0\x80\xae\xe0\x80\xae/secret");
  everywhere("\xf0\x80\x80\xae.\xc0\xafsecret");
  everywhere("in\xc0\x80");
  everywhere("\xff\xfe");
  everywhere("\x80");
  everywhere("\xed\xa0\x80");         /* a lone surrogate */
  everywhere("\xf4\x90\x80\x80");     /* above U+10FFFF */
  everywhere("\xe2\x82");             /* cut off */
  everywhere("in\xf8\x88\x80\x80\x80");
}
