#!/usr/bin/env bash
# Makes the certificates beside it, for tests alone: an authority, and a host's for a.example and 127.0.0.1. They end in a hundred years.
set -euo pipefail
cd "$(dirname "$0")"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj "/CN=Test authority" \
  -keyout authority.key -out authority.pem
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=a.example" -keyout host.key -out host.csr
printf 'subjectAltName=DNS:a.example,IP:127.0.0.1\n' >host.ext
openssl x509 -req -in host.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 36500 -extfile host.ext -out host.pem
rm -f authority.key authority.srl host.csr host.ext
