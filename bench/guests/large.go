// A program of 13 MB, of which little runs: most of Go's library is in it, because what is kept cannot be left out.
package main

import (
	"archive/zip"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"fmt"
	"go/parser"
	"go/printer"
	"html/template"
	"image/png"
	"net/http"
	"os"
	"regexp"
	"text/tabwriter"
)

var kept = []any{
	json.Marshal, template.New, png.Decode, http.Get, regexp.Compile, tabwriter.NewWriter, zip.NewReader, tls.Dial, sql.Open,
	parser.ParseFile, printer.Fprint,
}

func main() {
	if len(os.Args) > 5 {
		fmt.Println(kept...)
	}
	text, _ := json.Marshal(map[string]int{"hello": len(kept)})
	os.Stdout.Write(append(text, '\n'))
}
