package api

import (
	"reflect"
	"strconv"
	"strings"
)

// subject names what a request is about, for the log: what stands in its path and query, then the names in its body. All else is left out, for a body may hold
// passwords, keys and tokens.
func subject(in any) string {
	var names []string
	v := reflect.Indirect(reflect.ValueOf(in))
	for f, at := range fields(v) {
		if f.Tag.Get("path")+f.Tag.Get("query") != "" {
			names = appendName(names, at)
		}
	}
	if v.Kind() == reflect.Struct {
		for f, at := range fields(v.FieldByName("Body")) {
			switch name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name {
			case "name", "aor", "domain", "prefix", "to", "alias", "value":
				names = appendName(names, at)
			}
		}
	}
	return strings.Join(names, " ")
}

func appendName(names []string, v reflect.Value) []string {
	switch {
	case v.Kind() == reflect.String && v.String() != "":
		names = append(names, v.String())
	case v.Kind() == reflect.Uint64:
		names = append(names, strconv.FormatUint(v.Uint(), 10))
	}
	return names
}

// fields goes through the fields of a struct and of those embedded in it; there are none in what is no struct.
func fields(v reflect.Value) func(yield func(reflect.StructField, reflect.Value) bool) {
	return func(yield func(reflect.StructField, reflect.Value) bool) {
		if v.Kind() != reflect.Struct {
			return
		}
		for _, f := range reflect.VisibleFields(v.Type()) {
			if f.IsExported() && !yield(f, v.FieldByIndex(f.Index)) {
				return
			}
		}
	}
}
