/* deskew INPUT.png OUTPUT.png
 *
 * Cleans one scanned page and turns it until its lines of text are level. Prints what it did as JSON: `angle` is how far the
 * lines fell to the right before, in degrees. Exit code 2 when the page cannot be used. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"

enum { white = 255, dark = 128 };

static int least(int one, int other) { return one < other ? one : other; }
static int most(int one, int other) { return one > other ? one : other; }

static inline int brightness(const uint8_t *sample, int channels) {
  return channels == 1 ? sample[0] : (sample[0] * 77 + sample[1] * 150 + sample[2] * 29) >> 8;
}

/* ---- Paper: how bright it is around each block of a grey or colour page, and where it ends. ---- */

typedef struct {
  int size, across, down;
  uint8_t *paper;   /* brightness by block and channel */
  uint8_t *outside; /* the block shows no paper */
} Blocks;

/* The brightness that 1 of 7 samples of a block exceed: paper, where some of it lies between the letters. */
static int upper(const int *histogram, int total) {
  int left = total / 7, value = 255;
  while (value > 0 && (left -= histogram[value]) >= 0) value--;
  return value;
}

static void spread(const uint8_t *is, uint8_t *reached, int *stack, int top, int across, int down) {
  while (top) {
    int place = stack[--top], x = place % across, y = place / across;
    for (int near = 0; near < 4; near++) {
      int to_x = x + (near == 0) - (near == 1), to_y = y + (near == 2) - (near == 3), to = to_y * across + to_x;
      if (to_x < 0 || to_y < 0 || to_x >= across || to_y >= down || reached[to] || !is[to]) continue;
      reached[to] = 1;
      stack[top++] = to;
    }
  }
}

/* Outside is what is dark and hangs together with the edge of the picture, and small bright scraps beyond it. */
static void find_outside(Blocks *blocks, const uint8_t *is_dark) {
  int count = blocks->across * blocks->down, top = 0, best = 0;
  int *stack = allocate((size_t)count, sizeof(int));
  uint8_t *seen = allocate((size_t)count, 1), *inside = allocate((size_t)count, 1), *paper = allocate((size_t)count, 1);
  for (int at = 0; at < count; at++) paper[at] = !is_dark[at];
  for (int start = 0; start < count; start++) {
    if (seen[start] || !paper[start]) continue;
    uint8_t *part = allocate((size_t)count, 1);
    part[start] = 1, stack[0] = start;
    spread(paper, part, stack, 1, blocks->across, blocks->down);
    int size = 0;
    for (int at = 0; at < count; at++) size += part[at], seen[at] |= part[at];
    if (size > best) best = size, memcpy(inside, part, (size_t)count);
    free(part);
  }
  for (int at = 0; at < count; at++) paper[at] = !inside[at];
  for (int y = 0; y < blocks->down; y++)
    for (int x = 0; x < blocks->across; x++) {
      int edge = x == 0 || y == 0 || x == blocks->across - 1 || y == blocks->down - 1, at = y * blocks->across + x;
      if (edge && paper[at]) blocks->outside[at] = 1, stack[top++] = at;
    }
  spread(paper, blocks->outside, stack, top, blocks->across, blocks->down);
  free(stack), free(seen), free(inside), free(paper);
}

static Blocks measure_paper(const Picture *page) {
  Blocks blocks = {.size = most(8, page->dpi / 10)};
  blocks.across = (page->width + blocks.size - 1) / blocks.size;
  blocks.down = (page->height + blocks.size - 1) / blocks.size;
  int count = blocks.across * blocks.down, channels = page->channels, all[256] = {0};
  blocks.paper = allocate((size_t)(count * channels), 1);
  blocks.outside = allocate((size_t)count, 1);
  uint8_t *bright = allocate((size_t)count, 1), *is_dark = allocate((size_t)count, 1);
  for (int block = 0; block < count; block++) {
    int histogram[4][256] = {{0}}, total = 0;
    int left = block % blocks.across * blocks.size, top = block / blocks.across * blocks.size;
    for (int y = top; y < least(top + blocks.size, page->height); y++)
      for (int x = left; x < least(left + blocks.size, page->width); x++, total++) {
        const uint8_t *sample = page->samples + ((size_t)y * (size_t)page->width + (size_t)x) * (size_t)channels;
        for (int channel = 0; channel < channels; channel++) histogram[channel][sample[channel]]++;
        histogram[3][brightness(sample, channels)]++;
      }
    for (int channel = 0; channel < channels; channel++)
      blocks.paper[block * channels + channel] = (uint8_t)most(1, upper(histogram[channel], total));
    bright[block] = (uint8_t)upper(histogram[3], total);
    all[bright[block]]++;
  }
  int usual = upper(all, count);
  for (int block = 0; block < count; block++) is_dark[block] = bright[block] * 100 < usual * 45;
  find_outside(&blocks, is_dark);
  /* Blocks without paper, inside or out, take their neighbours' brightness, so that a headline is not taken for a shadow. */
  uint8_t *unknown = is_dark;
  for (int block = 0; block < count; block++) unknown[block] |= blocks.outside[block];
  for (int changed = 1; changed;) {
    changed = 0;
    for (int block = 0; block < count; block++) {
      if (!unknown[block]) continue;
      for (int near = 0; near < 4; near++) {
        int x = block % blocks.across + (near == 0) - (near == 1), y = block / blocks.across + (near == 2) - (near == 3);
        int from = y * blocks.across + x;
        if (x < 0 || y < 0 || x >= blocks.across || y >= blocks.down || unknown[from]) continue;
        memcpy(blocks.paper + block * channels, blocks.paper + from * channels, (size_t)channels);
        unknown[block] = 0, changed = 1;
        break;
      }
    }
  }
  free(bright), free(is_dark);
  return blocks;
}

/* Makes the paper white and evenly lit: each sample is divided by the paper's brightness around it. */
static void whiten(Picture *page, const Blocks *blocks) {
  int channels = page->channels;
  for (int y = 0; y < page->height; y++) {
    float down = fmaxf(0, ((float)y + 0.5f) / (float)blocks->size - 0.5f);
    int above = least((int)down, blocks->down - 1), below = least(above + 1, blocks->down - 1);
    float low = down - (float)above;
    for (int x = 0; x < page->width; x++) {
      float right = fmaxf(0, ((float)x + 0.5f) / (float)blocks->size - 0.5f);
      int before = least((int)right, blocks->across - 1), after = least(before + 1, blocks->across - 1);
      float far = right - (float)before;
      uint8_t *sample = page->samples + ((size_t)y * (size_t)page->width + (size_t)x) * (size_t)channels;
      for (int channel = 0; channel < channels; channel++) {
        const uint8_t *paper = blocks->paper + channel;
        float upper_side = paper[(above * blocks->across + before) * channels] * (1 - far) + paper[(above * blocks->across + after) * channels] * far;
        float lower_side = paper[(below * blocks->across + before) * channels] * (1 - far) + paper[(below * blocks->across + after) * channels] * far;
        /* The paper's own grain lies up to a seventh below its upper brightness. */
        float value = (float)sample[channel] * 290 / (upper_side * (1 - low) + lower_side * low);
        /* Faded ink is made darker: what has less than a quarter of the paper's brightness is black. */
        value = (value - 64) * 255 / 191;
        sample[channel] = value > 255 ? white : value < 0 ? 0 : (uint8_t)value;
      }
    }
  }
}

/* ---- Ink: one byte a pixel, 1 where it is dark. ---- */

static uint8_t *find_ink(const Picture *page) {
  size_t count = (size_t)page->width * (size_t)page->height;
  uint8_t *ink = allocate(count, 1);
  for (size_t at = 0; at < count; at++) ink[at] = brightness(page->samples + at * (size_t)page->channels, page->channels) < dark;
  return ink;
}

static void erase(Picture *page, uint8_t *ink, int at) {
  ink[at] = 0;
  memset(page->samples + (size_t)at * (size_t)page->channels, white, (size_t)page->channels);
}

typedef struct {
  int *places;
  int count, room;
} List;

static void push(List *list, int place) {
  if (list->count == list->room) {
    list->room = list->room ? list->room * 2 : 4096;
    list->places = realloc(list->places, (size_t)list->room * sizeof(int));
    if (!list->places) refuse("out of memory");
  }
  list->places[list->count++] = place;
}

/* Erases the scanner's lid: what is dark from the picture's edge, or the paper's, inwards, up to an eighth of the page. */
static int erase_border(Picture *page, uint8_t *ink, const Blocks *blocks) {
  int width = page->width, height = page->height, erased = 0, reach_x = width / 8, reach_y = height / 8;
  List list = {0};
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++) {
      int at = y * width + x;
      int outside = blocks && blocks->outside[y / blocks->size * blocks->across + x / blocks->size];
      int edge = x == 0 || y == 0 || x == width - 1 || y == height - 1;
      if (!outside && !(edge && ink[at])) continue;
      erased += ink[at];
      erase(page, ink, at);
      push(&list, at);
    }
  /* A grey page's border has soft edges, so a little more than the dark part goes. */
  int halo = blocks ? 2 : 1;
  while (list.count) {
    int place = list.places[--list.count], x = place % width, y = place / width;
    for (int to_y = most(0, y - halo); to_y <= least(height - 1, y + halo); to_y++)
      for (int to_x = most(0, x - halo); to_x <= least(width - 1, x + halo); to_x++) {
        int to = to_y * width + to_x;
        int inner = to_x > reach_x && to_x < width - reach_x && to_y > reach_y && to_y < height - reach_y;
        if (inner) continue;
        if (ink[to]) {
          erased++;
          erase(page, ink, to);
          push(&list, to);
        } else if (blocks) erase(page, ink, to);
      }
  }
  free(list.places);
  return erased;
}

/* Erases small spots with no other ink around them, so that dots of letters and full stops stay. */
static int erase_specks(Picture *page, uint8_t *ink) {
  int width = page->width, height = page->height, specks = 0;
  int largest = most(2, page->dpi * page->dpi / 2500), around = most(4, page->dpi / 16), tiny = most(1, page->dpi * page->dpi / 20000);
  uint8_t *seen = allocate((size_t)width * (size_t)height, 1);
  List list = {0};
  for (int start = 0; start < width * height; start++) {
    if (!ink[start] || seen[start]) continue;
    int left = width, right = 0, top = height, bottom = 0;
    list.count = 0;
    push(&list, start);
    seen[start] = 1;
    for (int next = 0; next < list.count; next++) {
      int x = list.places[next] % width, y = list.places[next] / width;
      left = least(left, x), right = most(right, x), top = least(top, y), bottom = most(bottom, y);
      for (int to_y = most(0, y - 1); to_y <= least(height - 1, y + 1); to_y++)
        for (int to_x = most(0, x - 1); to_x <= least(width - 1, x + 1); to_x++) {
          int to = to_y * width + to_x;
          if (ink[to] && !seen[to]) seen[to] = 1, push(&list, to);
        }
    }
    if (list.count > largest) continue;
    int near = 0;
    for (int y = most(0, top - around); y <= least(height - 1, bottom + around); y++)
      for (int x = most(0, left - around); x <= least(width - 1, right + around); x++) near += ink[y * width + x];
    if (near > list.count + largest / 2 && list.count > tiny) continue;
    for (int index = 0; index < list.count; index++) erase(page, ink, list.places[index]);
    specks++;
  }
  free(list.places), free(seen);
  return specks;
}

/* ---- Angle: at the right one, the lower edges of letters gather in few rows. ---- */

typedef struct {
  float x, y;
} Point;

static double gathered(const Point *points, int count, double degrees, int *rows, int row_count, float offset) {
  float slope = (float)tan(degrees * M_PI / 180);
  memset(rows, 0, (size_t)row_count * sizeof(int));
  for (int index = 0; index < count; index++) rows[(int)(points[index].y - slope * points[index].x + offset)]++;
  double sum = 0;
  for (int row = 0; row < row_count; row++) sum += (double)rows[row] * rows[row];
  return sum;
}

static double find_angle(const uint8_t *ink, int width, int height, int dpi) {
  enum { most_points = 60000 };
  const double farthest = 7;
  long edges = 0;
  for (int at = 0; at < width * (height - 1); at++) edges += ink[at] && !ink[at + width];
  if (edges < 200) return 0;
  int every = (int)(edges / most_points) + 1, count = 0;
  float row = fmaxf(1, (float)dpi / 150);
  Point *points = allocate((size_t)(edges / every + 1), sizeof(Point));
  edges = 0;
  for (int y = 0; y + 1 < height; y++)
    for (int x = 0; x < width; x++)
      if (ink[y * width + x] && !ink[(y + 1) * width + x] && edges++ % every == 0) points[count++] = (Point){(float)x / row, (float)y / row};
  float offset = (float)(tan((farthest + 1) * M_PI / 180)) * (float)width / row + 2;
  int row_count = (int)((float)height / row + 2 * offset) + 2;
  int *rows = allocate((size_t)row_count, sizeof(int));
  double best = 0, most_gathered = 0, sum = 0;
  int tried = 0;
  for (double angle = -farthest; angle <= farthest; angle += 0.2, tried++) {
    double value = gathered(points, count, angle, rows, row_count, offset);
    sum += value;
    if (value > most_gathered) most_gathered = value, best = angle;
  }
  /* Without lines of text no angle stands out, and the page stays as it is. */
  double middle = best;
  if (most_gathered < 1.15 * sum / tried) middle = best = 0, most_gathered = INFINITY;
  for (double angle = middle - 0.2; angle <= middle + 0.2; angle += 0.02) {
    double value = gathered(points, count, angle, rows, row_count, offset);
    if (value > most_gathered) most_gathered = value, best = angle;
  }
  free(points), free(rows);
  return best;
}

/* ---- Turning ---- */

/* Turns the page around its middle with interpolation. It keeps its size as long as all ink has room in it. */
static void turn(Picture *page, const uint8_t *ink, double degrees) {
  double sine = sin(degrees * M_PI / 180), cosine = cos(degrees * M_PI / 180);
  int width = page->width, height = page->height, channels = page->channels;
  double left = 1e9, right = -1e9, top = 1e9, bottom = -1e9;
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++) {
      if (!ink[y * width + x]) continue;
      double to_x = cosine * (x - width / 2.0) + sine * (y - height / 2.0), to_y = cosine * (y - height / 2.0) - sine * (x - width / 2.0);
      left = fmin(left, to_x), right = fmax(right, to_x), top = fmin(top, to_y), bottom = fmax(bottom, to_y);
    }
  int margin = page->dpi / 20;
  Picture to = *page;
  to.width = most(width, (int)(right - left) + 2 * margin);
  to.height = most(height, (int)(bottom - top) + 2 * margin);
  double shift_x = fmin(fmax(to.width / 2.0, margin - left), to.width - margin - right);
  double shift_y = fmin(fmax(to.height / 2.0, margin - top), to.height - margin - bottom);
  to.samples = allocate((size_t)to.width * (size_t)to.height, (size_t)channels);
  memset(to.samples, white, (size_t)to.width * (size_t)to.height * (size_t)channels);
  const int64_t one = 1 << 16;
  int64_t step_x = (int64_t)llround(cosine * (double)one), step_y = (int64_t)llround(sine * (double)one);
  for (int y = 0; y < to.height; y++) {
    double from_left = cosine * -shift_x - sine * (y - shift_y) + width / 2.0, from_top = sine * -shift_x + cosine * (y - shift_y) + height / 2.0;
    int64_t from_x = (int64_t)llround(from_left * (double)one), from_y = (int64_t)llround(from_top * (double)one);
    uint8_t *sample = to.samples + (size_t)y * (size_t)to.width * (size_t)channels;
    for (int x = 0; x < to.width; x++, from_x += step_x, from_y += step_y, sample += channels) {
      int column = (int)(from_x >> 16), line = (int)(from_y >> 16);
      if (column < 0 || line < 0 || column + 1 >= width || line + 1 >= height) continue;
      int across = (int)(from_x >> 8 & 255), down = (int)(from_y >> 8 & 255);
      const uint8_t *above = page->samples + ((size_t)line * (size_t)width + (size_t)column) * (size_t)channels;
      const uint8_t *below = above + (size_t)width * (size_t)channels;
      for (int channel = 0; channel < channels; channel++) {
        int high = above[channel] * (256 - across) + above[channels + channel] * across;
        int low = below[channel] * (256 - across) + below[channels + channel] * across;
        int value = (high * (256 - down) + low * down + (1 << 15)) >> 16;
        sample[channel] = (uint8_t)(page->bilevel ? (value < dark ? 0 : white) : value);
      }
    }
  }
  free(page->samples);
  *page = to;
}

int main(int count, char **arguments) {
  if (count != 3) {
    fputs("usage: deskew INPUT.png OUTPUT.png\n", stderr);
    return 64;
  }
  Picture page = read_png(arguments[1]);
  Blocks blocks = {0};
  if (!page.bilevel) {
    blocks = measure_paper(&page);
    whiten(&page, &blocks);
  }
  uint8_t *ink = find_ink(&page);
  int border = erase_border(&page, ink, page.bilevel ? NULL : &blocks);
  int specks = page.bilevel ? erase_specks(&page, ink) : 0;
  double angle = find_angle(ink, page.width, page.height, page.dpi);
  if (fabs(angle) >= 0.05) turn(&page, ink, angle);
  else angle = 0;
  write_png(arguments[2], &page);
  printf("{\"angle\":%.2f,\"specks\":%d,\"border\":%d,\"width\":%d,\"height\":%d}\n", angle, specks, border, page.width, page.height);
  return 0;
}
