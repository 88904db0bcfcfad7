import CHeraldNet
import Foundation
import Synchronization
import Testing

/// What the callbacks of one test's loop write down.
private final class Diary: Sendable {
    let letters = Mutex<[Int]>([])
    let turns = Atomic<Int>(0)
    let offThread = Atomic<Int>(0)

    var context: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }
    static func from(_ context: UnsafeMutableRawPointer?) -> Diary? {
        context.map { Unmanaged<Diary>.fromOpaque($0).takeUnretainedValue() }
    }
}

/// A letter that says who sent it and which of theirs it is.
private final class Letter: Sendable {
    let diary: Diary
    let value: Int
    init(diary: Diary, value: Int) {
        self.diary = diary
        self.value = value
    }
}

private func makeLoop(_ diary: Diary) throws -> OpaquePointer {
    var loop: OpaquePointer?
    let status = hr_loop_new(3, { Diary.from($0)?.turns.add(1, ordering: .relaxed) }, diary.context, &loop)
    #expect(status == .ok)
    return try #require(loop)
}

private func post(_ letter: Letter, to loop: OpaquePointer) -> hr_status {
    hr_loop_post(
        loop,
        { context in
            guard let context else { return }
            let letter = Unmanaged<Letter>.fromOpaque(context).takeRetainedValue()
            letter.diary.letters.withLock { $0.append(letter.value) }
        }, Unmanaged.passRetained(letter).toOpaque())
}

/// Waits for a condition; the deadline only keeps a broken loop from hanging the suite.
private func eventually(_ condition: () -> Bool) -> Bool {
    let deadline = Date().addingTimeInterval(30)
    while Date() < deadline {
        if condition() { return true }
        usleep(1000)
    }
    return condition()
}

private struct Handle: @unchecked Sendable {
    let loop: OpaquePointer
}

/// Asks a loop for the time, twice each time: in letters, and in the turns that these wake.
private final class Watch: Sendable {
    struct Times {
        var first: hr_loop_time
        var second: hr_loop_time
        var isSame: Bool { first.mono_ns == second.mono_ns && first.wall_ms == second.wall_ms }
    }

    let inLetters = Mutex<[Times]>([])
    let inTurns = Mutex<[Times]>([])
    let wakes = Atomic<Bool>(false)

    /// On the loop's thread. What is asked for again is asked for later.
    static func times() -> Times {
        let loop = hr_loop_current()
        let first = hr_loop_time_now(loop)
        usleep(2_000)
        return Times(first: first, second: hr_loop_time_now(loop))
    }

    static func from(_ context: UnsafeMutableRawPointer?) -> Watch? {
        context.map { Unmanaged<Watch>.fromOpaque($0).takeUnretainedValue() }
    }

    /// Posts a letter that asks, and waits for what it was told and, if it wakes the loop, what the turn was.
    func ask(_ loop: OpaquePointer, waking: Bool) -> Bool {
        let before = (inLetters.withLock { $0.count }, inTurns.withLock { $0.count })
        wakes.store(waking, ordering: .relaxed)
        let status = hr_loop_post(
            loop,
            { context in
                guard let watch = Watch.from(context) else { return }
                let times = Watch.times()
                watch.inLetters.withLock { $0.append(times) }
                if watch.wakes.load(ordering: .relaxed) { hr_loop_wake(hr_loop_current()) }
            }, Unmanaged.passUnretained(self).toOpaque())
        return status == .ok
            && eventually {
                inLetters.withLock { $0.count } == before.0 + 1
                    && inTurns.withLock { $0.count } == before.1 + (waking ? 1 : 0)
            }
    }
}

@Suite struct LoopTests {
    @Test func `letters of several threads all arrive, each sender's in order`() throws {
        let diary = Diary()
        var loop: OpaquePointer? = try makeLoop(diary)
        let handle = Handle(loop: try #require(loop))
        #expect(hr_loop_start(handle.loop) == .ok)
        let threads = (0..<4).map { sender in
            Thread {
                for number in 0..<5_000 {
                    let letter = Letter(diary: diary, value: sender * 100_000 + number)
                    if post(letter, to: handle.loop) != .ok { return }
                }
            }
        }
        threads.forEach { $0.start() }
        #expect(eventually { diary.letters.withLock { $0.count } == 20_000 })
        let letters = diary.letters.withLock { $0 }
        for sender in 0..<4 {
            let own = letters.filter { $0 / 100_000 == sender }.map { $0 % 100_000 }
            #expect(own == Array(0..<5_000))
        }
        hr_loop_stop(handle.loop)
        hr_loop_join(handle.loop)
        hr_loop_free(&loop)
        #expect(loop == nil)
    }

    @Test func `a wake runs the turn hook, many wakes at once few times`() throws {
        let diary = Diary()
        var loop: OpaquePointer? = try makeLoop(diary)
        let handle = Handle(loop: try #require(loop))
        for _ in 0..<1_000 {
            hr_loop_wake(handle.loop)
        }
        #expect(diary.turns.load(ordering: .relaxed) == 0)
        #expect(hr_loop_start(handle.loop) == .ok)
        #expect(eventually { diary.turns.load(ordering: .relaxed) >= 1 })
        #expect(diary.turns.load(ordering: .relaxed) <= 2)
        hr_loop_stop(handle.loop)
        hr_loop_join(handle.loop)
        hr_loop_free(&loop)
    }

    @Test func `no wake is lost against a loop that goes to sleep`() throws {
        let diary = Diary()
        var loop: OpaquePointer? = try makeLoop(diary)
        let handle = Handle(loop: try #require(loop))
        #expect(hr_loop_start(handle.loop) == .ok)
        for _ in 0..<2_000 {
            let before = diary.turns.load(ordering: .acquiring)
            hr_loop_wake(handle.loop)
            #expect(eventually { diary.turns.load(ordering: .acquiring) > before })
        }
        hr_loop_stop(handle.loop)
        hr_loop_join(handle.loop)
        hr_loop_free(&loop)
    }

    @Test func `what is still in the mailbox when a loop has ended is run by who joins it`() throws {
        let diary = Diary()
        var loop: OpaquePointer? = try makeLoop(diary)
        let handle = Handle(loop: try #require(loop))
        #expect(hr_loop_start(handle.loop) == .ok)
        hr_loop_stop(handle.loop)
        usleep(50_000)
        #expect(post(Letter(diary: diary, value: 7), to: handle.loop) == .ok)
        hr_loop_join(handle.loop)
        #expect(diary.letters.withLock { $0 } == [7])
        hr_loop_free(&loop)
    }

    @Test func `a loop that never ran can be freed`() throws {
        var loop: OpaquePointer? = try makeLoop(Diary())
        #expect(hr_loop_index(loop) == 3)
        #expect(!hr_loop_is_current(loop))
        hr_loop_free(&loop)
        #expect(loop == nil)
    }
    @Test func `the time is one for a turn's input, another for its hook, and later in the next turn`() throws {
        let watch = Watch()
        var loop: OpaquePointer?
        let status = hr_loop_new(
            0,
            { context in
                let times = Watch.times()
                Watch.from(context)?.inTurns.withLock { $0.append(times) }
            }, Unmanaged.passUnretained(watch).toOpaque(), &loop)
        #expect(status == .ok)
        let handle = Handle(loop: try #require(loop))
        #expect(hr_loop_start(handle.loop) == .ok)
        for waking in [true, true, false, false, true, false] { #expect(watch.ask(handle.loop, waking: waking)) }
        hr_loop_stop(handle.loop)
        hr_loop_join(handle.loop)
        hr_loop_free(&loop)
        let (letters, turns) = (watch.inLetters.withLock { $0 }, watch.inTurns.withLock { $0 })
        #expect(letters.count == 6 && turns.count == 3)
        for times in letters + turns { #expect(times.isSame) }
        // In the order in which they were asked, at least so long one after the other as was slept in between.
        let all = [letters[0], turns[0], letters[1], turns[1]] + letters[2...4] + [turns[2], letters[5]]
        for (earlier, later) in zip(all, all.dropFirst()) {
            #expect(later.first.mono_ns >= earlier.first.mono_ns + 2_000_000)
        }
    }
}
