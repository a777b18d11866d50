// The functions of examples/functions/words.c, in Go.
package main

import (
	"bufio"
	"bytes"
	"io"
	"iter"

	atalanta "atalanta.dev/guest"
)

type word struct {
	Word   string `json:"word"`
	Length int    `json:"length"`
}

func greet(who string) (string, error) {
	if who == "" {
		return "", &atalanta.Error{Name: "TypeError", Message: "greet wants a name", Data: []string{who}}
	}
	return "Hello, " + who + "!", nil
}

func shout(text []byte) []byte { return bytes.ToUpper(text) }

func words(text io.Reader) iter.Seq[word] {
	return func(yield func(word) bool) {
		scanner := bufio.NewScanner(text)
		scanner.Split(bufio.ScanWords)
		for scanner.Scan() {
			if !yield(word{scanner.Text(), len(scanner.Text())}) {
				return
			}
		}
	}
}

func main() {
	atalanta.Function("greet", greet, atalanta.Names("who"), atalanta.Pure)
	atalanta.Function("shout", shout, atalanta.Names("text"))
	atalanta.Function("words", words, atalanta.Names("text"))
	atalanta.Serve()
}
