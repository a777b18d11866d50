/* A page in memory, and how it is read from and written to a PNG. */
#ifndef PICTURE_H
#define PICTURE_H
#include <stddef.h>
#include <stdint.h>

typedef struct {
  int width, height;
  int channels; /* 1 grey, 3 colour */
  int bilevel;  /* samples are 0 or 255 only */
  int dpi;
  uint8_t *samples; /* width * height * channels bytes, rows from the top */
} Picture;

/* Ends the program with code 2 and a message that begins with the program's name. */
_Noreturn void refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *allocate(size_t count, size_t size);

Picture read_png(const char *path);
void write_png(const char *path, const Picture *picture);

/* Fills `to` exactly, or refuses. */
void inflate(const uint8_t *from, size_t from_size, uint8_t *to, size_t to_size);
/* A zlib stream in memory of its own. */
uint8_t *deflate(const uint8_t *from, size_t from_size, size_t *to_size);
#endif
