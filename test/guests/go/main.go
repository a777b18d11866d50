// Tries what Go's standard library needs of its host; test/toolchains.test.ts says what each command must print.
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

func must[Value any](value Value, err error) Value {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "unexpected:", err)
		os.Exit(70)
	}
}

func kind(err error) string {
	switch {
	case err == nil:
		return "none"
	case errors.Is(err, fs.ErrNotExist):
		return "missing"
	case errors.Is(err, fs.ErrExist):
		return "exists"
	case errors.Is(err, fs.ErrPermission):
		return "refused"
	}
	return "other"
}

func main() {
	command, rest := os.Args[1], os.Args[2:]
	switch command {
	case "arguments":
		for _, argument := range rest {
			fmt.Println(argument)
		}
	case "environment":
		all := os.Environ()
		sort.Strings(all)
		fmt.Println(strings.Join(all, "\n"))
	case "stdin":
		lines := bufio.NewScanner(os.Stdin)
		for number := 1; lines.Scan(); number++ {
			fmt.Printf("%d %s\n", number, strings.ToUpper(lines.Text()))
		}
	case "files":
		files(rest[0])
	case "directories":
		directories(rest[0])
	case "locked":
		fmt.Println("read", string(must(os.ReadFile(rest[0]))))
		_, err := os.OpenFile(rest[0], os.O_WRONLY, 0)
		fmt.Println("refused", err != nil)
		file := must(os.Open(rest[0]))
		_, err = file.WriteString("x")
		fmt.Println("refused", err != nil)
	case "exit":
		os.Exit(must(strconv.Atoi(rest[0])))
	case "clocks":
		before := time.Now()
		time.Sleep(30 * time.Millisecond)
		fmt.Println(before.UTC().Year() > 2023, time.Since(before) >= 30*time.Millisecond, time.Since(before) < 20*time.Second)
	case "random":
		bytes := make([]byte, 16)
		must(rand.Read(bytes))
		fmt.Println(hex.EncodeToString(bytes))
	case "panic":
		outer()
	case "recursion":
		fmt.Println(deeper(0))
	}
}

func files(folder string) {
	at := func(name string) string { return filepath.Join(folder, name) }
	check(os.WriteFile(at("a"), []byte("hello, world"), 0o644))
	fmt.Println("read", string(must(os.ReadFile(at("a")))))
	file := must(os.OpenFile(at("a"), os.O_WRONLY|os.O_APPEND, 0))
	must(file.WriteString("!"))
	check(file.Close())
	file = must(os.OpenFile(at("a"), os.O_RDWR, 0))
	must(file.Seek(7, io.SeekStart))
	must(file.WriteString("there"))
	must(file.Seek(-6, io.SeekEnd))
	fmt.Println("end", string(must(io.ReadAll(file))))
	check(file.Truncate(5))
	check(file.Close())
	fmt.Println("size", must(os.Stat(at("a"))).Size())
	check(os.Rename(at("a"), at("b")))
	fmt.Println("renamed", kind(missing(at("a"))), string(must(os.ReadFile(at("b")))))
	_, err := os.OpenFile(at("b"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	fmt.Println("exclusive", kind(err))
	_, err = os.Open(at("none"))
	fmt.Println("open", kind(err))
	big := must(os.Create(at("big")))
	block := make([]byte, 1<<16)
	for index := 0; index < 48; index++ {
		must(big.Write(block))
	}
	check(big.Close())
	fmt.Println("big", must(os.Stat(at("big"))).Size())
	check(os.Remove(at("big")))
	check(os.Remove(at("b")))
	fmt.Println("left", len(must(os.ReadDir(folder))))
}

func missing(path string) error {
	_, err := os.Stat(path)
	return err
}

func directories(folder string) {
	at := func(name string) string { return filepath.Join(folder, name) }
	check(os.MkdirAll(at("one/two/three"), 0o755))
	for _, name := range []string{"one/b", "one/a", "one/two/c", "one/two/three/ü d"} {
		check(os.WriteFile(at(name), nil, 0o644))
	}
	fmt.Println("again", kind(os.Mkdir(at("one"), 0o755)))
	check(filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		check(err)
		if name := must(filepath.Rel(folder, path)); name != "." {
			fmt.Println(map[bool]string{true: "folder", false: "file"}[entry.IsDir()], name)
		}
		return nil
	}))
	fmt.Println("full", kind(os.Remove(at("one/two"))) != "none")
	check(os.Rename(at("one/two"), at("moved")))
	fmt.Println("moved", string(must(os.ReadDir(at("moved")))[0].Name()), kind(missing(at("one/two"))))
	for index := 0; index < 500; index++ {
		check(os.WriteFile(at(fmt.Sprintf("moved/file-%03d", index)), nil, 0o644))
	}
	fmt.Println("many", len(must(os.ReadDir(at("moved")))))
	check(os.RemoveAll(at("one")))
	check(os.RemoveAll(at("moved")))
	fmt.Println("left", len(must(os.ReadDir(folder))))
}

//go:noinline
func outer() { panic("no paper left") }

//go:noinline
func deeper(depth int) int {
	if depth < 0 {
		return 0
	}
	return deeper(depth+1) + 1
}
