package main

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"os"
)

// writePNG writes bilevel pages with one bit a pixel, and the resolution beside the picture; image/png writes neither.
func (p *picture) writePNG(path string) error {
	depth, colour := byte(8), byte(0)
	if p.bilevel {
		depth = 1
	}
	if p.channels == 3 {
		colour = 2
	}
	var packed bytes.Buffer
	writer, err := zlib.NewWriterLevel(&packed, zlib.BestSpeed)
	if err != nil {
		return err
	}
	width := p.width * p.channels
	line := make([]byte, 1+width)
	if p.bilevel {
		line = line[:1+(width+7)/8]
	}
	for y := 0; y < p.height; y++ {
		p.filter(line, y)
		if _, err := writer.Write(line); err != nil {
			return err
		}
	}
	if err := writer.Close(); err != nil {
		return err
	}
	out := bytes.NewBufferString("\x89PNG\r\n\x1a\n")
	head := binary.BigEndian.AppendUint32(nil, uint32(p.width))
	head = binary.BigEndian.AppendUint32(head, uint32(p.height))
	chunk(out, "IHDR", append(head, depth, colour, 0, 0, 0))
	perMetre := uint32((p.dpi*10000 + 127) / 254)
	dots := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, perMetre), perMetre)
	chunk(out, "pHYs", append(dots, 1))
	chunk(out, "IDAT", packed.Bytes())
	chunk(out, "IEND", nil)
	return os.WriteFile(path, out.Bytes(), 0o644)
}

// filter fills one line of the file: bits for bilevel pages, differences to the line above for others.
func (p *picture) filter(line []byte, y int) {
	width := p.width * p.channels
	row := p.samples[y*width : (y+1)*width]
	if p.bilevel {
		clear(line)
		for x, value := range row {
			if value >= 128 {
				line[1+x/8] |= 0x80 >> (x % 8)
			}
		}
		return
	}
	line[0] = 2
	if y == 0 {
		line[0] = 0
		copy(line[1:], row)
		return
	}
	above := p.samples[(y-1)*width:]
	for x, value := range row {
		line[1+x] = value - above[x]
	}
}

func chunk(out *bytes.Buffer, name string, data []byte) {
	out.Write(binary.BigEndian.AppendUint32(nil, uint32(len(data))))
	body := append([]byte(name), data...)
	out.Write(body)
	out.Write(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(body)))
}
