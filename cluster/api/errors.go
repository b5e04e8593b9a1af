package api

import (
	"errors"
	"fmt"
	"net/http"
)

// Code classes an Error for programs; people read the message.
type Code string

// The codes of Error and the HTTP status that each is sent with.
const (
	CodeInvalid      Code = "invalid"      // 422: the request itself is wrong
	CodeNotFound     Code = "not_found"    // 404: what is named does not exist
	CodeExists       Code = "exists"       // 409: it exists already
	CodeRefused      Code = "refused"      // 409: the state of node or cluster forbids it
	CodeUnconfigured Code = "unconfigured" // 409: the node has not run init or join yet
	CodeUnavailable  Code = "unavailable"  // 503: no raft leader, or a peer cannot be reached; may be tried again
	CodeInternal     Code = "internal"     // 500: a fault of this node: disk, guard, or a bug
)

// Error is what the API answers when an operation did not happen. Its JSON form is a problem document (RFC 9457) with a code.
type Error struct {
	Status  int    `json:"status" doc:"HTTP status"`
	Code    Code   `json:"code" doc:"class of the error, for programs"`
	Message string `json:"detail" doc:"what is wrong: what to do, in one line"`
}

// Error returns the message: one line, without the code.
func (e *Error) Error() string { return e.Message }

// GetStatus is the HTTP status, as huma asks for it.
func (e *Error) GetStatus() int { return e.Status }

// ContentType is that of RFC 9457.
func (e *Error) ContentType(string) string { return "application/problem+json" }

// Errorf makes an Error of the code. The message should say what is wrong, then what to do. %w is honoured for the text only.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Status: code.status(), Code: code, Message: fmt.Errorf(format, args...).Error()}
}

// CodeOf returns the code of the first Error in err's chain, CodeInternal when there is none, "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

func (c Code) status() int {
	switch c {
	case CodeInvalid:
		return http.StatusUnprocessableEntity
	case CodeNotFound:
		return http.StatusNotFound
	case CodeExists, CodeRefused, CodeUnconfigured:
		return http.StatusConflict
	case CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
