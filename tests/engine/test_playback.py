"""When a listener falls silent: the arithmetic behind the scheduler's order."""

from streamer.engine.playback import PlaybackState


def listening(*sentences: int) -> PlaybackState:
    listener = PlaybackState()
    for index in sentences:
        listener.open(index)
    return listener


def test_only_the_first_sentence_keeps_a_new_listener_waiting():
    """Until the first sound he waits for sentence 0; what follows it is in no hurry."""
    listener = listening(0, 1)
    assert listener.waits_for(0)
    assert not listener.waits_for(1)
    listener.deliver(0, 0.5, now_s=2.0)
    assert not listener.waits_for(0)


def test_he_runs_dry_when_all_he_has_is_played():
    """The first sound's time and all sound since, over the sentences up to the one asked about."""
    listener = listening(0, 1)
    assert listener.underrun_at_s(0) == float("inf")
    listener.deliver(0, 0.5, now_s=2.0)
    listener.take(0, 0.5, now_s=2.0)
    listener.deliver(1, 3.0, now_s=2.1)
    listener.deliver(0, 0.25, now_s=2.2)
    assert listener.underrun_at_s(0) == 2.75
    assert listener.underrun_at_s(1) == 5.75


def test_after_a_gap_he_plays_from_then_on():
    """Sound that came late is heard when it comes, and lasts from there; a later sentence's ends no gap."""
    listener = listening(0, 1)
    listener.deliver(0, 1.0, now_s=0.0)
    listener.take(0, 1.0, now_s=0.0)
    listener.deliver(1, 1.0, now_s=3.0)
    assert listener.underrun_at_s(0) == 1.0
    listener.deliver(0, 0.5, now_s=4.0)
    assert listener.underrun_at_s(0) == 4.5


def test_who_stops_reading_is_not_silent():
    """Sound he leaves lying is ahead of him still when more is made, and when he goes on after half a minute."""
    listener = listening(0)
    listener.deliver(0, 1.0, now_s=0.0)
    listener.take(0, 1.0, now_s=0.0)
    listener.deliver(0, 5.0, now_s=0.5)
    listener.deliver(0, 2.0, now_s=20.0)
    assert listener.underrun_at_s(0) == 27.0
    listener.take(0, 1.0, now_s=31.0)
    assert listener.underrun_at_s(0) == 38.0


def test_closed_sentences_still_count():
    """Closing keeps what was heard, also where a later sentence closes first."""
    listener = listening(0, 1, 2)
    for index in range(3):
        listener.deliver(index, 1.0, now_s=1.0)
    listener.close(1)
    assert (listener.underrun_at_s(0), listener.underrun_at_s(2)) == (2.0, 4.0)
    listener.close(0)
    assert listener.underrun_at_s(2) == 4.0


def test_untaken_sound_of_earlier_sentences_counts_as_ahead():
    """Sentence 1 is ahead by what waits of both; once taken or closed it is not."""
    listener = listening(0, 1)
    listener.deliver(0, 3.0, now_s=0.0)
    listener.deliver(1, 2.0, now_s=0.0)
    assert (listener.buffered_s(0), listener.buffered_s(1)) == (3.0, 5.0)
    listener.take(0, 1.0, now_s=0.0)
    assert listener.buffered_s(1) == 4.0
    listener.close(0)
    assert listener.buffered_s(1) == 2.0


def test_an_utterance_is_over_when_nothing_is_open_and_all_was_heard():
    """Not in a pause between two sentences while sound still plays."""
    listener = listening(0)
    listener.deliver(0, 2.0, now_s=1.0)
    assert not listener.is_over(9.0)
    listener.close(0)
    assert not listener.is_over(2.5)
    assert listener.is_over(3.0)


def test_a_sentence_asked_for_once_more_counts_once():
    """The sound of the first time was thrown away, also where the next sentence had ended before it."""
    listener = listening(0, 1, 2)
    for index, duration_s in enumerate((1.0, 15.0, 2.0)):
        listener.deliver(index, duration_s, now_s=0.0)
        listener.take(index, duration_s, now_s=0.0)
    for index in (0, 2, 1):
        listener.close(index)
    assert listener.underrun_at_s(2) == 18.0
    listener.open(1)
    assert (listener.underrun_at_s(1), listener.underrun_at_s(2), listener.buffered_s(2)) == (1.0, 3.0, 0.0)
    assert not listener.is_over(now_s=100.0)
    listener.deliver(1, 4.0, now_s=0.5)
    listener.close(1)
    assert listener.underrun_at_s(2) == 7.0
    assert listener.is_over(now_s=7.0)
