/* PNG as the steps of this workflow write it: grey or RGB without transparency, not interlaced. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"

enum { most_pixels = 40 << 20, most_bytes = 128 << 20 };
static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

void refuse(const char *format, ...) {
  va_list values;
  va_start(values, format);
  fputs("deskew: ", stderr);
  vfprintf(stderr, format, values);
  fputc('\n', stderr);
  va_end(values);
  exit(2);
}

void *allocate(size_t count, size_t size) {
  void *block = calloc(count, size);
  if (!block) refuse("out of memory: %zu bytes more are needed", count * size);
  return block;
}

static uint32_t crc(const uint8_t *bytes, size_t size) {
  static uint32_t table[256];
  if (!table[1])
    for (uint32_t index = 0; index < 256; index++) {
      uint32_t value = index;
      for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
      table[index] = value;
    }
  uint32_t value = 0xffffffffu;
  while (size--) value = table[(value ^ *bytes++) & 255] ^ value >> 8;
  return ~value;
}

static uint32_t number(const uint8_t *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint8_t *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) refuse("cannot open %s: %s", path, strerror(errno));
  fseek(file, 0, SEEK_END);
  long end = ftell(file);
  if (end < 0 || end > most_bytes) refuse("%s has %ld bytes; at most %d can be read", path, end, most_bytes);
  rewind(file);
  uint8_t *bytes = allocate((size_t)end + 1, 1);
  *size = fread(bytes, 1, (size_t)end, file);
  fclose(file);
  return bytes;
}

static int nearest(int left, int above, int corner) {
  int guess = left + above - corner;
  int to_left = abs(guess - left), to_above = abs(guess - above), to_corner = abs(guess - corner);
  if (to_left <= to_above && to_left <= to_corner) return left;
  return to_above <= to_corner ? above : corner;
}

static void undo_filter(int filter, uint8_t *line, const uint8_t *above, int size, int step) {
  if (filter > 4) refuse("the picture is damaged: it has a line of kind %d", filter);
  if (filter == 2)
    for (int at = 0; at < size; at++) line[at] = (uint8_t)(line[at] + above[at]);
  if (filter != 1 && filter != 3 && filter != 4) return;
  for (int at = 0; at < size; at++) {
    int left = at >= step ? line[at - step] : 0, corner = at >= step ? above[at - step] : 0;
    int guess = filter == 1 ? left : filter == 3 ? (left + above[at]) / 2 : nearest(left, above[at], corner);
    line[at] = (uint8_t)(line[at] + guess);
  }
}

Picture read_png(const char *path) {
  size_t size, packed_size = 0;
  uint8_t *bytes = read_file(path, &size), *packed = allocate(size + 1, 1);
  Picture picture = {.dpi = 200};
  int bits = 0, ended = 0;
  if (size < 8 || memcmp(bytes, signature, 8)) refuse("%s is not a PNG", path);
  for (size_t at = 8; !ended;) {
    if (size - at < 12 || number(bytes + at) > size - at - 12) refuse("%s is cut off after %zu bytes", path, size);
    uint32_t length = number(bytes + at);
    const uint8_t *name = bytes + at + 4, *data = bytes + at + 8;
    if (crc(name, length + 4) != number(data + length)) refuse("%s is damaged near byte %zu", path, at);
    if (!memcmp(name, "IHDR", 4) && length == 13) {
      uint32_t width = number(data), height = number(data + 4);
      if (!width || !height || width > most_pixels || height > most_pixels / width)
        refuse("%s has %u × %u pixels; at most %d million can be read", path, width, height, most_pixels >> 20);
      bits = data[8];
      int grey = data[9] == 0 && (bits == 1 || bits == 8), colour = data[9] == 2 && bits == 8;
      if ((!grey && !colour) || data[12]) refuse("%s is a PNG of kind %d/%d/%d, which is not read here", path, data[9], bits, data[12]);
      picture.width = (int)width, picture.height = (int)height;
      picture.channels = colour ? 3 : 1;
      picture.bilevel = bits == 1;
    }
    if (!memcmp(name, "pHYs", 4) && length == 9 && data[8] == 1) picture.dpi = (int)(number(data) * 0.0254 + 0.5);
    if (!memcmp(name, "IDAT", 4)) memcpy(packed + packed_size, data, length), packed_size += length;
    ended = !memcmp(name, "IEND", 4);
    at += length + 12;
  }
  if (!bits) refuse("%s has no head", path);
  if (picture.dpi < 50 || picture.dpi > 2400) picture.dpi = 200;
  free(bytes);
  int line = (picture.width * picture.channels * bits + 7) / 8, step = bits == 8 ? picture.channels : 1;
  uint8_t *lines = allocate((size_t)(line + 1), (size_t)picture.height), *above = allocate((size_t)line, 1);
  inflate(packed, packed_size, lines, (size_t)(line + 1) * (size_t)picture.height);
  free(packed);
  size_t row = (size_t)picture.width * (size_t)picture.channels;
  picture.samples = allocate(row, (size_t)picture.height);
  for (int y = 0; y < picture.height; y++) {
    uint8_t *from = lines + (size_t)y * (size_t)(line + 1), *to = picture.samples + (size_t)y * row;
    undo_filter(from[0], from + 1, y ? from - line : above, line, step);
    if (bits == 8) memcpy(to, from + 1, row);
    else
      for (int x = 0; x < picture.width; x++) to[x] = from[1 + x / 8] >> (7 - x % 8) & 1 ? 255 : 0;
  }
  free(lines);
  free(above);
  return picture;
}

/* Fills a line of the file by one of the filters and says how large its differences are. */
static long filter_line(int filter, uint8_t *to, const uint8_t *line, const uint8_t *above, int size, int step) {
  long sum = 0;
  to[0] = (uint8_t)filter;
  for (int at = 0; at < step; at++) {
    int guess = filter == 1 ? 0 : above[at];
    to[1 + at] = (uint8_t)(line[at] - guess);
    sum += abs((int8_t)to[1 + at]);
  }
  if (filter == 1)
    for (int at = step; at < size; at++) to[1 + at] = (uint8_t)(line[at] - line[at - step]);
  if (filter == 2)
    for (int at = step; at < size; at++) to[1 + at] = (uint8_t)(line[at] - above[at]);
  if (filter == 4)
    for (int at = step; at < size; at++) to[1 + at] = (uint8_t)(line[at] - nearest(line[at - step], above[at], above[at - step]));
  for (int at = step; at < size; at++) sum += abs((int8_t)to[1 + at]);
  return sum;
}

static void put_chunk(FILE *file, const char *name, const uint8_t *data, size_t size) {
  uint8_t *chunk = allocate(size + 12, 1);
  for (int byte = 0; byte < 4; byte++) chunk[byte] = (uint8_t)(size >> (24 - byte * 8));
  memcpy(chunk + 4, name, 4);
  if (size) memcpy(chunk + 8, data, size);
  uint32_t check = crc(chunk + 4, size + 4);
  for (int byte = 0; byte < 4; byte++) chunk[8 + size + (size_t)byte] = (uint8_t)(check >> (24 - byte * 8));
  fwrite(chunk, 1, size + 12, file);
  free(chunk);
}

void write_png(const char *path, const Picture *picture) {
  int bits = picture->bilevel ? 1 : 8, step = picture->channels;
  int row = picture->width * picture->channels, line = (row * bits + 7) / 8;
  size_t size = (size_t)(line + 1) * (size_t)picture->height;
  uint8_t *lines = allocate(size, 1), *tried = allocate((size_t)line + 1, 1), *above = allocate((size_t)row, 1);
  for (int y = 0; y < picture->height; y++) {
    const uint8_t *from = picture->samples + (size_t)y * (size_t)row;
    uint8_t *to = lines + (size_t)y * (size_t)(line + 1);
    if (bits == 1) {
      for (int x = 0; x < row; x++) to[1 + x / 8] |= (uint8_t)(from[x] >> 7 << (7 - x % 8));
      continue;
    }
    const uint8_t *before = y ? from - row : above;
    long best = filter_line(1, to, from, before, row, step);
    for (int filter = 2; filter <= 4; filter += 2) {
      long sum = filter_line(filter, tried, from, before, row, step);
      if (sum < best) best = sum, memcpy(to, tried, (size_t)line + 1);
    }
  }
  size_t packed_size;
  uint8_t *packed = deflate(lines, size, &packed_size);
  FILE *file = fopen(path, "wb");
  if (!file) refuse("cannot write %s: %s", path, strerror(errno));
  uint8_t head[13] = {0}, dots[9] = {0};
  unsigned per_metre = (unsigned)(picture->dpi / 0.0254 + 0.5);
  for (int byte = 0; byte < 4; byte++) {
    head[byte] = (uint8_t)(picture->width >> (24 - byte * 8));
    head[4 + byte] = (uint8_t)(picture->height >> (24 - byte * 8));
    dots[byte] = dots[4 + byte] = (uint8_t)(per_metre >> (24 - byte * 8));
  }
  head[8] = (uint8_t)bits, head[9] = picture->channels == 3 ? 2 : 0, dots[8] = 1;
  fwrite(signature, 1, 8, file);
  put_chunk(file, "IHDR", head, sizeof head);
  put_chunk(file, "pHYs", dots, sizeof dots);
  put_chunk(file, "IDAT", packed, packed_size);
  put_chunk(file, "IEND", NULL, 0);
  if (ferror(file) || fclose(file)) refuse("cannot write %s: %s", path, strerror(errno));
  free(packed), free(lines), free(tried), free(above);
}
