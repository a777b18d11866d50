package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// tags of TIFF 6.0 that are read here.
const (
	tagSubfile      = 254
	tagWidth        = 256
	tagHeight       = 257
	tagBits         = 258
	tagCompression  = 259
	tagPhotometric  = 262
	tagFillOrder    = 266
	tagStripOffsets = 273
	tagOrientation  = 274
	tagSamples      = 277
	tagRowsPerStrip = 278
	tagStripCounts  = 279
	tagXResolution  = 282
	tagPlanar       = 284
	tagT4Options    = 292
	tagUnit         = 296
	tagPredictor    = 317
	tagPalette      = 320
	tagTileWidth    = 322
	tagTileHeight   = 323
	tagTileOffsets  = 324
	tagTileCounts   = 325
	tagSampleFormat = 339
	tagJPEGTables   = 347
)

var errTruncated = errors.New("the file ends in the middle of it; it was cut off or is still being written")

type document struct {
	data  []byte
	order binary.ByteOrder
	first uint32
	seen  map[uint32]bool
}

type directory struct {
	file *document
	tags map[uint16][]float64
	raw  map[uint16][]byte
}

func open(data []byte) (*document, error) {
	if len(data) < 8 {
		return nil, errors.New("is not a TIFF: it is too short")
	}
	var order binary.ByteOrder
	switch string(data[:2]) {
	case "II":
		order = binary.LittleEndian
	case "MM":
		order = binary.BigEndian
	default:
		return nil, fmt.Errorf("is not a TIFF: it begins with %q", data[:4])
	}
	switch order.Uint16(data[2:]) {
	case 42:
	case 43:
		return nil, errors.New("is a BigTIFF, which is not read here; convert it with tiffcp")
	default:
		return nil, fmt.Errorf("is not a TIFF: it begins with %q", data[:4])
	}
	return &document{data: data, order: order, first: order.Uint32(data[4:]), seen: map[uint32]bool{}}, nil
}

// bytes returns size bytes at a place that the document names, or an error.
func (d *document) bytes(at, size uint64) ([]byte, error) {
	if at > uint64(len(d.data)) || size > uint64(len(d.data))-at {
		return nil, errTruncated
	}
	return d.data[at : at+size], nil
}

// directory reads the tags at a place and says where the next page's are.
func (d *document) directory(at uint32) (directory, uint32, error) {
	page := directory{file: d, tags: map[uint16][]float64{}, raw: map[uint16][]byte{}}
	if d.seen[at] {
		return page, 0, errors.New("the list of pages runs in a circle")
	}
	d.seen[at] = true
	head, err := d.bytes(uint64(at), 2)
	if err != nil {
		return page, 0, err
	}
	count := uint64(d.order.Uint16(head))
	entries, err := d.bytes(uint64(at)+2, count*12+4)
	if err != nil {
		return page, 0, err
	}
	for index := uint64(0); index < count; index++ {
		if err := page.read(entries[index*12 : index*12+12]); err != nil {
			return page, 0, err
		}
	}
	return page, d.order.Uint32(entries[count*12:]), nil
}

// wanted tags; those below hold numbers, tables are taken as they are.
var wanted = map[uint16]bool{
	tagSubfile: true, tagWidth: true, tagHeight: true, tagBits: true, tagCompression: true, tagPhotometric: true,
	tagFillOrder: true, tagStripOffsets: true, tagOrientation: true, tagSamples: true, tagRowsPerStrip: true,
	tagStripCounts: true, tagXResolution: true, tagPlanar: true, tagT4Options: true, tagUnit: true, tagPredictor: true,
	tagPalette: true, tagTileWidth: true, tagTileHeight: true, tagTileOffsets: true, tagTileCounts: true,
	tagSampleFormat: true, tagJPEGTables: true,
}

// maxValues of one tag: strips of one row each, of a page as high as can be read.
const maxValues = 1 << 20

var sizes = map[uint16]uint64{1: 1, 3: 2, 4: 4, 5: 8, 7: 1}

func (p *directory) read(entry []byte) error {
	order := p.file.order
	tag, kind, count := order.Uint16(entry), order.Uint16(entry[2:]), uint64(order.Uint32(entry[4:]))
	size, known := sizes[kind]
	if !known || !wanted[tag] {
		return nil
	}
	if count > maxValues {
		return fmt.Errorf("tag %d has %d values; at most %d can be read", tag, count, maxValues)
	}
	value := entry[8:12]
	if count*size > 4 {
		var err error
		if value, err = p.file.bytes(uint64(order.Uint32(entry[8:])), count*size); err != nil {
			return err
		}
	}
	p.raw[tag] = value[:count*size]
	numbers := make([]float64, count)
	for index := range numbers {
		part := value[uint64(index)*size:]
		switch kind {
		case 1, 7:
			numbers[index] = float64(part[0])
		case 3:
			numbers[index] = float64(order.Uint16(part))
		case 4:
			numbers[index] = float64(order.Uint32(part))
		case 5:
			if below := order.Uint32(part[4:]); below != 0 {
				numbers[index] = float64(order.Uint32(part)) / float64(below)
			}
		}
	}
	p.tags[tag] = numbers
	return nil
}

// number is the first value of a tag, or what holds when it is absent.
func (p *directory) number(tag uint16, absent int) int {
	values := p.tags[tag]
	if len(values) == 0 || values[0] > math.MaxInt32 {
		return absent
	}
	return int(values[0])
}

func (p *directory) isThumbnail() bool { return p.number(tagSubfile, 0)&1 != 0 }

// dpi is the resolution in dots an inch; 200 when the document does not say, as a fax would have.
func (p *directory) dpi() int {
	values := p.tags[tagXResolution]
	if len(values) == 0 || values[0] < 1 {
		return 200
	}
	dots := values[0]
	if p.number(tagUnit, 2) == 3 {
		dots *= 2.54
	}
	return int(math.Round(math.Min(dots, 9600)))
}
