"""A chat needs nothing but Herald: a room is a topic, and its history is what Herald keeps of it."""


def flags(_):
    return ["--rule", "chat/* retain-events=200 retain-age=7d"]
