// split_pages DOCUMENT FOLDER
//
// Reads a TIFF of any number of pages, writes one PNG a page (page-001.png ...) into the folder, and lists them as JSON on
// stdout: page, file, width, height, dpi, kind (bilevel, grey or colour). Exit code 2 when the document cannot be used.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A document that asks for more than this is refused, whatever its directories promise.
const (
	maxPages  = 999
	maxPixels = 40 << 20 // A4 at 600 dots an inch has 35 million
	maxBytes  = 128 << 20
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: split_pages DOCUMENT FOLDER")
		os.Exit(64)
	}
	entries, err := split(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintf(os.Stderr, "split_pages: %v\n", err)
		os.Exit(2)
	}
	fmt.Printf("[%s]\n", strings.Join(entries, ","))
}

func split(document, folder string) ([]string, error) {
	info, err := os.Stat(document)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxBytes {
		return nil, fmt.Errorf("%s has %d bytes; at most %d can be read", document, info.Size(), maxBytes)
	}
	data, err := os.ReadFile(document)
	if err != nil {
		return nil, err
	}
	file, err := open(data)
	if err != nil {
		return nil, fmt.Errorf("%s %w", document, err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	var entries []string
	for at := file.first; at != 0; {
		number := len(entries) + 1
		if number > maxPages {
			return nil, fmt.Errorf("%s has more than %d pages", document, maxPages)
		}
		var page directory
		page, at, err = file.directory(at)
		if err != nil {
			return nil, fmt.Errorf("page %d: %w", number, err)
		}
		if page.isThumbnail() {
			continue
		}
		picture, err := page.decode()
		if err != nil {
			return nil, fmt.Errorf("page %d: %w", number, err)
		}
		name := fmt.Sprintf("page-%03d.png", number)
		if err := picture.writePNG(filepath.Join(folder, name)); err != nil {
			return nil, err
		}
		entries = append(entries, fmt.Sprintf(`{"page":%d,"file":"%s","width":%d,"height":%d,"dpi":%d,"kind":"%s"}`,
			number, name, picture.width, picture.height, picture.dpi, picture.kind()))
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("%s has no pages", document)
	}
	return entries, nil
}
