package main

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math/bits"

	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"
)

// picture holds 8-bit samples, one (grey) or three (colour) a pixel.
type picture struct {
	width, height, channels, dpi int
	bilevel                      bool
	samples                      []byte
}

func (p *picture) kind() string {
	switch {
	case p.bilevel:
		return "bilevel"
	case p.channels == 1:
		return "grey"
	}
	return "colour"
}

// layout says how the samples of one page lie in its strips or tiles.
type layout struct {
	width, height   int // of the page
	bits, samples   int // of one sample; samples a pixel
	compression     int
	photometric     int
	predictor       int
	planes          int // 1, or samples when each lies for itself
	chunkWidth      int // of a strip or tile
	chunkHeight     int
	across, down    int
	offsets, counts []float64
	tiled           bool
	lsbFirst        bool
	order           binary.ByteOrder
}

func (p *directory) layout() (layout, error) {
	l := layout{
		width:       p.number(tagWidth, 0),
		height:      p.number(tagHeight, 0),
		bits:        p.number(tagBits, 1),
		samples:     p.number(tagSamples, 1),
		compression: p.number(tagCompression, 1),
		photometric: p.number(tagPhotometric, 0),
		predictor:   p.number(tagPredictor, 1),
		planes:      1,
		lsbFirst:    p.number(tagFillOrder, 1) == 2,
		order:       p.file.order,
	}
	if l.width < 1 || l.height < 1 {
		return l, fmt.Errorf("its size is %d × %d pixels", l.width, l.height)
	}
	if l.width > maxPixels/l.height {
		return l, fmt.Errorf("its size is %d × %d pixels; at most %d million pixels can be read", l.width, l.height, maxPixels>>20)
	}
	for _, size := range p.tags[tagBits] {
		if int(size) != l.bits {
			return l, errors.New("its samples differ in size, which is not read here")
		}
	}
	wide := l.bits == 1 || l.bits == 2 || l.bits == 4
	if !wide && l.bits != 8 && l.bits != 16 || wide && l.samples != 1 {
		return l, fmt.Errorf("%d samples of %d bits are not read here", l.samples, l.bits)
	}
	if l.samples < 1 || l.samples > 5 || p.number(tagSampleFormat, 1) != 1 {
		return l, errors.New("its kind of samples is not read here")
	}
	if p.number(tagPlanar, 1) == 2 {
		l.planes = l.samples
	}
	if _, l.tiled = p.tags[tagTileOffsets]; l.tiled {
		l.chunkWidth, l.chunkHeight = p.number(tagTileWidth, 0), p.number(tagTileHeight, 0)
		l.offsets, l.counts = p.tags[tagTileOffsets], p.tags[tagTileCounts]
	} else {
		l.chunkWidth = l.width
		l.chunkHeight = min(p.number(tagRowsPerStrip, l.height), l.height)
		l.offsets, l.counts = p.tags[tagStripOffsets], p.tags[tagStripCounts]
	}
	if l.chunkWidth < 1 || l.chunkHeight < 1 || l.chunkWidth > maxPixels/l.chunkHeight {
		return l, fmt.Errorf("its tiles have %d × %d pixels", l.chunkWidth, l.chunkHeight)
	}
	l.across = (l.width + l.chunkWidth - 1) / l.chunkWidth
	l.down = (l.height + l.chunkHeight - 1) / l.chunkHeight
	chunks := l.across * l.down * l.planes
	if len(l.counts) == 0 && len(l.offsets) == 1 && l.compression == 1 {
		l.counts = []float64{float64(l.height * l.rowBytes())}
	}
	if len(l.offsets) < chunks || len(l.counts) < chunks {
		return l, fmt.Errorf("it names %d of its %d strips", min(len(l.offsets), len(l.counts)), chunks)
	}
	if l.predictor != 1 && (l.predictor != 2 || l.bits < 8) {
		return l, fmt.Errorf("predictor %d with %d bits is not read here", l.predictor, l.bits)
	}
	return l, nil
}

// rowBytes of one row of a chunk.
func (l *layout) rowBytes() int { return (l.chunkWidth*l.bits*l.samples/l.planes + 7) / 8 }

func (p *directory) decode() (*picture, error) {
	l, err := p.layout()
	if err != nil {
		return nil, err
	}
	channels, err := l.channels()
	if err != nil {
		return nil, err
	}
	palette := p.tags[tagPalette]
	if l.photometric == 3 && len(palette) < 3<<l.bits {
		return nil, errors.New("it has no palette")
	}
	if l.photometric == 3 {
		channels = 3
		if greyPalette(palette[:3<<l.bits]) {
			channels = 1
		}
	}
	to := &picture{width: l.width, height: l.height, channels: channels, dpi: p.dpi(), bilevel: l.bits == 1 && channels == 1}
	to.samples = make([]byte, l.width*l.height*channels)
	for index := 0; index < l.across*l.down*l.planes; index++ {
		plane, place := index/(l.across*l.down), index%(l.across*l.down)
		left, top := place%l.across*l.chunkWidth, place/l.across*l.chunkHeight
		rows := l.chunkHeight
		if !l.tiled {
			rows = min(rows, l.height-top)
		}
		source, err := p.file.bytes(uint64(l.offsets[index]), uint64(l.counts[index]))
		if err != nil {
			return nil, err
		}
		if l.compression == 7 {
			if err := to.drawJPEG(source, p.raw[tagJPEGTables], &l, left, top); err != nil {
				return nil, err
			}
			continue
		}
		data, err := l.unpack(source, rows, p.number(tagT4Options, 0))
		if err != nil {
			return nil, err
		}
		to.draw(data, &l, palette, plane, left, top, rows)
	}
	return to.turned(p.number(tagOrientation, 1)), nil
}

func (l *layout) channels() (int, error) {
	switch l.photometric {
	case 0, 1, 3:
		return 1, nil
	case 2:
		if l.samples >= 3 {
			return 3, nil
		}
	case 6:
		if l.compression == 7 && l.samples == 3 {
			return 3, nil
		}
	case 5:
		return 0, errors.New("CMYK colours are not read here; convert it to RGB")
	}
	return 0, fmt.Errorf("colours of kind %d with compression %d are not read here", l.photometric, l.compression)
}

// unpack gives rows × rowBytes bytes.
func (l *layout) unpack(source []byte, rows, t4 int) ([]byte, error) {
	size := rows * l.rowBytes()
	if l.lsbFirst {
		turned := make([]byte, len(source))
		for index, value := range source {
			turned[index] = bits.Reverse8(value)
		}
		source = turned
	}
	var from io.Reader
	switch l.compression {
	case 1:
		from = bytes.NewReader(source)
	case 3:
		if t4&1 != 0 {
			return nil, errors.New("CCITT G3 with two-dimensional coding is not read here; save it as G4")
		}
		from = ccitt.NewReader(bytes.NewReader(source), ccitt.MSB, ccitt.Group3, l.chunkWidth, rows, &ccitt.Options{Invert: true, Align: t4&4 != 0})
	case 4:
		from = ccitt.NewReader(bytes.NewReader(source), ccitt.MSB, ccitt.Group4, l.chunkWidth, rows, &ccitt.Options{Invert: true})
	case 5:
		reader := lzw.NewReader(bytes.NewReader(source), lzw.MSB, 8)
		defer reader.Close()
		from = reader
	case 8, 32946:
		reader, err := zlib.NewReader(bytes.NewReader(source))
		if err != nil {
			return nil, damaged(err)
		}
		defer reader.Close()
		from = reader
	case 32773:
		from = &packBits{source: source}
	default:
		return nil, fmt.Errorf("compression %d is not read here; save it as G4, LZW, deflate or JPEG", l.compression)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(from, data); err != nil {
		return nil, damaged(err)
	}
	if l.predictor == 2 {
		l.sumRows(data, rows)
	}
	return data, nil
}

func damaged(err error) error { return fmt.Errorf("its picture is damaged (%w)", err) }

// sumRows undoes the predictor: each sample was stored as the difference to its left neighbour's.
func (l *layout) sumRows(data []byte, rows int) {
	step := l.samples / l.planes
	width := l.rowBytes()
	for row := 0; row < rows; row++ {
		line := data[row*width : (row+1)*width]
		if l.bits == 8 {
			for index := step; index < width; index++ {
				line[index] += line[index-step]
			}
			continue
		}
		for index := step * 2; index+1 < width; index += 2 {
			sum := l.order.Uint16(line[index:]) + l.order.Uint16(line[index-step*2:])
			l.order.PutUint16(line[index:], sum)
		}
	}
}

// packBits reads Apple's run lengths.
type packBits struct {
	source  []byte
	pending []byte
}

func (p *packBits) Read(into []byte) (int, error) {
	for len(p.pending) == 0 {
		if len(p.source) < 2 {
			return 0, io.EOF
		}
		switch code := int(int8(p.source[0])); {
		case code >= 0:
			end := min(2+code, len(p.source))
			p.pending, p.source = p.source[1:end], p.source[end:]
		case code == -128:
			p.source = p.source[1:]
		default:
			p.pending, p.source = bytes.Repeat(p.source[1:2], 1-code), p.source[2:]
		}
	}
	done := copy(into, p.pending)
	p.pending = p.pending[done:]
	return done, nil
}

// draw puts the samples of one chunk where they belong.
func (p *picture) draw(data []byte, l *layout, palette []float64, plane, left, top, rows int) {
	width := l.rowBytes()
	step := l.samples / l.planes
	for row := 0; row < rows && top+row < p.height; row++ {
		line := data[row*width:]
		to := p.samples[((top+row)*p.width+left)*p.channels:]
		for column := 0; column < l.chunkWidth && left+column < p.width; column++ {
			switch {
			case l.photometric == 3:
				entry, count := l.sample(line, column*step), 1<<l.bits
				for channel := 0; channel < p.channels; channel++ {
					to[column*p.channels+channel] = byte(int(palette[channel*count+entry]) >> 8)
				}
			case l.planes > 1:
				if plane < p.channels {
					to[column*p.channels+plane] = l.scaled(line, column)
				}
			default:
				for channel := 0; channel < p.channels; channel++ {
					to[column*p.channels+channel] = l.scaled(line, column*step+channel)
				}
			}
		}
	}
}

func (l *layout) sample(line []byte, index int) int {
	switch l.bits {
	case 8:
		return int(line[index])
	case 16:
		return int(l.order.Uint16(line[index*2:]) >> 8)
	}
	bit := index * l.bits
	return int(line[bit/8]) >> (8 - l.bits - bit%8) & (1<<l.bits - 1)
}

// scaled is a sample between 0 and 255, 255 being white.
func (l *layout) scaled(line []byte, index int) byte {
	value := l.sample(line, index)
	if l.bits < 8 {
		value = value * 255 / (1<<l.bits - 1)
	}
	if l.photometric == 0 {
		value = 255 - value
	}
	return byte(value)
}

func greyPalette(palette []float64) bool {
	count := len(palette) / 3
	for index := 0; index < count; index++ {
		if palette[index] != palette[count+index] || palette[index] != palette[2*count+index] {
			return false
		}
	}
	return true
}

func (p *picture) drawJPEG(source, tables []byte, l *layout, left, top int) error {
	if len(tables) > 4 && len(source) > 2 {
		// The tables are a stream of their own: its end and the strip's beginning fall away.
		source = append(append([]byte{}, tables[:len(tables)-2]...), source[2:]...)
	}
	if l.photometric == 2 {
		source = withoutTransform(source)
	}
	size, err := jpeg.DecodeConfig(bytes.NewReader(source))
	if err != nil {
		return damaged(err)
	}
	if size.Width > l.chunkWidth+16 || size.Height > l.chunkHeight+16 {
		return fmt.Errorf("a strip of it has %d × %d pixels, not %d × %d", size.Width, size.Height, l.chunkWidth, l.chunkHeight)
	}
	decoded, err := jpeg.Decode(bytes.NewReader(source))
	if err != nil {
		return damaged(err)
	}
	bounds := decoded.Bounds()
	for y := 0; y < bounds.Dy() && top+y < p.height; y++ {
		for x := 0; x < bounds.Dx() && left+x < p.width; x++ {
			to := p.samples[((top+y)*p.width+left+x)*p.channels:]
			switch from := decoded.(type) {
			case *image.Gray:
				for channel := range p.channels {
					to[channel] = from.Pix[y*from.Stride+x]
				}
			case *image.YCbCr:
				at := from.COffset(x, y)
				red, green, blue := color.YCbCrToRGB(from.Y[y*from.YStride+x], from.Cb[at], from.Cr[at])
				if p.channels == 1 {
					to[0] = from.Y[y*from.YStride+x]
				} else {
					to[0], to[1], to[2] = red, green, blue
				}
			default:
				red, green, blue, _ := decoded.At(x, y).RGBA()
				if p.channels == 1 {
					to[0] = byte(green >> 8)
				} else {
					to[0], to[1], to[2] = byte(red>>8), byte(green>>8), byte(blue>>8)
				}
			}
		}
	}
	return nil
}

// withoutTransform tells the decoder, by Adobe's marker, that the components are red, green and blue as they are.
func withoutTransform(source []byte) []byte {
	marker := []byte{0xff, 0xee, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 0}
	return append(append(append([]byte{}, source[:2]...), marker...), source[2:]...)
}

// turned undoes TIFF's eight orientations.
func (p *picture) turned(orientation int) *picture {
	if orientation < 2 || orientation > 8 {
		return p
	}
	to := *p
	if orientation > 4 {
		to.width, to.height = p.height, p.width
	}
	to.samples = make([]byte, len(p.samples))
	for y := 0; y < to.height; y++ {
		for x := 0; x < to.width; x++ {
			fromX, fromY := x, y
			if orientation > 4 {
				fromX, fromY = y, x
			}
			if orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8 {
				fromX = p.width - 1 - fromX
			}
			if orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7 {
				fromY = p.height - 1 - fromY
			}
			copy(to.samples[(y*to.width+x)*p.channels:][:p.channels], p.samples[(fromY*p.width+fromX)*p.channels:][:p.channels])
		}
	}
	return &to
}
