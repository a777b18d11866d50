// Package atalanta makes functions of a Go program callable by Atalanta: as a program of wasip1, with the types of the functions as their description.
//
//	func main() {
//		atalanta.Function("resize", func(photo []byte, options struct{ Width int `json:"width"` }) ([]byte, error) { … })
//		atalanta.Serve()
//	}
//
// Build it with GOOS=wasip1 GOARCH=wasm go build. docs/functions.md says how a function is called.
package atalanta

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"reflect"
	"strings"
)

// Error is what a caller gets by its name; every other error is called "Error".
type Error struct {
	Name    string `json:"name"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// Pure says that a function does nothing to the world, so that it may run more than once.
type Option func(*function)

var Pure Option = func(f *function) { f.pure = true }

// Names gives names to the parameters, which Go does not keep.
func Names(names ...string) Option { return func(f *function) { f.names = names } }

type function struct {
	value reflect.Value
	names []string
	pure  bool
}

var functions = map[string]*function{}

var (
	bytesType  = reflect.TypeFor[[]byte]()
	readerType = reflect.TypeFor[io.Reader]()
	errorType  = reflect.TypeFor[error]()
)

// Function makes a Go function callable. Its parameters are JSON values, and at most one []byte or io.Reader; it returns nothing, a value, []byte or an
// iter.Seq of values, and an error behind it if it likes. A pointer parameter may be left out.
func Function(name string, call any, options ...Option) {
	f := &function{value: reflect.ValueOf(call)}
	for _, option := range options {
		option(f)
	}
	functions[name] = f
}

// Serve calls the function that is asked for, and ends the program when it fails.
func Serve() {
	if len(os.Args) < 2 {
		throw(&Error{Name: "NoSuchFunction", Message: "no function is named"})
	}
	name := os.Args[1]
	if name == "atalanta:describe" {
		describe()
		return
	}
	f, known := functions[name]
	if !known {
		throw(&Error{Name: "NoSuchFunction", Message: "there is no function " + name})
	}
	text := []byte(nil)
	if len(os.Args) > 2 {
		text = []byte(os.Args[2])
	} else {
		text, _ = io.ReadAll(os.Stdin)
	}
	given, err := arguments(f.value.Type(), text)
	if err != nil {
		throw(&Error{Name: "TypeError", Message: err.Error()})
	}
	finish(f.value.Call(given))
}

func arguments(t reflect.Type, text []byte) ([]reflect.Value, error) {
	var words []json.RawMessage
	if err := json.Unmarshal(text, &words); err != nil {
		return nil, err
	}
	given := make([]reflect.Value, t.NumIn())
	for at := range given {
		kind := t.In(at)
		switch {
		case kind == readerType:
			given[at] = reflect.ValueOf(os.Stdin)
		case kind == bytesType:
			bytes, err := io.ReadAll(os.Stdin)
			if err != nil {
				return nil, err
			}
			given[at] = reflect.ValueOf(bytes)
		default:
			value := reflect.New(kind)
			if at < len(words) {
				if err := json.Unmarshal(words[at], value.Interface()); err != nil {
					return nil, fmt.Errorf("argument %d: %w", at+1, err)
				}
			}
			given[at] = value.Elem()
		}
	}
	return given, nil
}

func finish(results []reflect.Value) {
	out := bufio.NewWriter(os.Stdout)
	for _, result := range results {
		if result.Type() == errorType {
			if !result.IsNil() {
				throw(result.Interface().(error))
			}
			continue
		}
		if result.Type() == bytesType {
			out.Write(result.Bytes())
			continue
		}
		if result.Kind() == reflect.Func {
			for value := range result.Seq() {
				write(out, value.Interface())
				out.WriteByte('\n')
				out.Flush()
			}
			continue
		}
		write(out, result.Interface())
	}
	out.Flush()
}

func write(out io.Writer, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		throw(err)
	}
	out.Write(text)
}

func throw(err error) {
	said := &Error{Name: "Error", Message: err.Error()}
	var own *Error
	if errors.As(err, &own) {
		said = own
	}
	text, _ := json.Marshal(said)
	fmt.Fprintf(os.Stderr, "\natalanta-error: %s\n", text)
	os.Exit(1)
}

func describe() {
	all := map[string]any{}
	for name, f := range functions {
		t := f.value.Type()
		parameters := []any{}
		stream := ""
		for at := range t.NumIn() {
			kind := t.In(at)
			parameter := map[string]any{"name": fmt.Sprintf("argument%d", at+1), "type": schema(kind, 0)}
			if at < len(f.names) {
				parameter["name"] = f.names[at]
			}
			if kind == readerType {
				parameter["type"], stream = "bytes", "input"
			}
			if kind.Kind() == reflect.Pointer {
				parameter["optional"] = true
			}
			parameters = append(parameters, parameter)
		}
		about := map[string]any{"parameters": parameters, "pure": f.pure}
		for at := range t.NumOut() {
			kind := t.Out(at)
			switch {
			case kind == errorType:
			case kind.Kind() == reflect.Func && kind.CanSeq():
				about["result"] = schema(kind.In(0).In(0), 0)
				if stream == "input" {
					stream = "both"
				} else {
					stream = "result"
				}
			default:
				about["result"] = schema(kind, 0)
			}
		}
		if stream != "" {
			about["stream"] = stream
		}
		all[name] = about
	}
	write(os.Stdout, map[string]any{"version": 1, "functions": all})
}

// A JSON Schema of a type, or "bytes".
func schema(t reflect.Type, depth int) any {
	if t == bytesType && depth == 0 {
		return "bytes"
	}
	if depth > 16 {
		return map[string]any{}
	}
	switch t.Kind() {
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Pointer:
		return schema(t.Elem(), depth)
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return map[string]any{"type": "string"}
		}
		return map[string]any{"type": "array", "items": schema(t.Elem(), depth+1)}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schema(t.Elem(), depth+1)}
	case reflect.Struct:
		properties := map[string]any{}
		required := []string{}
		for at := range t.NumField() {
			field := t.Field(at)
			name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !field.IsExported() || name == "-" {
				continue
			}
			if name == "" {
				name = field.Name
			}
			properties[name] = schema(field.Type, depth+1)
			if !strings.Contains(options, "omitempty") && field.Type.Kind() != reflect.Pointer {
				required = append(required, name)
			}
		}
		return map[string]any{"type": "object", "properties": properties, "required": required}
	}
	return map[string]any{}
}

var _ iter.Seq[int]
