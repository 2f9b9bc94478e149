#!/usr/bin/env bash
# Plays a text while it is still being made: curl, jq, and any program that plays raw samples from its standard input.
#
#     bash curl_player.sh "Hello there."
#     PLAYER="ffplay -nodisp -autoexit -loglevel error -f s16le -ar 24000 -ch_layout mono -" bash curl_player.sh "Hello."
set -euo pipefail

text=${1:?"usage: bash curl_player.sh TEXT"}
url=${URL:-http://localhost:8765/v1/speech}
player=${PLAYER:-aplay -q -t raw -f S16_LE -r 24000 -c 1}

jq -n --arg text "$text" '{text: $text, encoding: "pcm_s16le"}' |
    curl --silent --show-error --fail --no-buffer --data-binary @- "$url" | # --no-buffer: each piece at once
    $player
