"""Event files of TensorBoard, read back."""

import struct


def events_of(folder):
    """(tag, iteration): value of all event files; a record is length, checksum, data, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in folder.glob("*tfevents*"):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            event = Event.FromString(data[place + 12 : place + 12 + length])
            for value in event.summary.value:
                assert (value.tag, event.step) not in found, "each number once"
                found[value.tag, event.step] = value.simple_value
            place += 16 + length
    return found
