//! Tries what Zig's standard library needs of its host; test/toolchains.test.ts says what each command must print.
const std = @import("std");

var out_buffer: [4096]u8 = undefined;
var out_writer = std.fs.File.stdout().writer(&out_buffer);
const out = &out_writer.interface;

fn kind(result: anytype) []const u8 {
    _ = result catch |reason| return switch (@as(anyerror, reason)) {
        error.FileNotFound => "missing",
        error.PathAlreadyExists => "exists",
        error.AccessDenied, error.PermissionDenied => "refused",
        else => "other",
    };
    return "none";
}

pub fn main() !void {
    const gpa = std.heap.wasm_allocator;
    const arguments = try std.process.argsAlloc(gpa);
    const command = arguments[1];
    const is = struct {
        fn is(one: []const u8, other: []const u8) bool {
            return std.mem.eql(u8, one, other);
        }
    }.is;
    if (is(command, "arguments")) {
        for (arguments[2..]) |argument| try out.print("{s}\n", .{argument});
    } else if (is(command, "environment")) {
        var all = try std.process.getEnvMap(gpa);
        var names: std.ArrayList([]const u8) = .empty;
        var entries = all.iterator();
        while (entries.next()) |entry| try names.append(gpa, entry.key_ptr.*);
        std.mem.sort([]const u8, names.items, {}, before);
        for (names.items) |name| try out.print("{s}={s}\n", .{ name, all.get(name).? });
    } else if (is(command, "stdin")) {
        const text = try std.fs.File.stdin().readToEndAlloc(gpa, 1 << 20);
        var lines = std.mem.splitScalar(u8, std.mem.trimRight(u8, text, "\n"), '\n');
        var number: usize = 1;
        while (lines.next()) |line| : (number += 1)
            try out.print("{d} {s}\n", .{ number, try std.ascii.allocUpperString(gpa, line) });
    } else if (is(command, "files")) {
        try files(gpa, try folderAt(arguments[2]));
    } else if (is(command, "directories")) {
        try directories(gpa, try folderAt(arguments[2]));
    } else if (is(command, "locked")) {
        const path = std.mem.trimLeft(u8, arguments[2], "/");
        const cwd = std.fs.cwd();
        try out.print("read {s}\n", .{try cwd.readFileAlloc(gpa, path, 100)});
        try out.print("refused {}\n", .{!is(kind(cwd.openFile(path, .{ .mode = .write_only })), "none")});
        var file = try cwd.openFile(path, .{});
        try out.print("refused {}\n", .{!is(kind(file.write("x")), "none")});
    } else if (is(command, "exit")) {
        std.process.exit(try std.fmt.parseInt(u8, arguments[2], 10));
    } else if (is(command, "clocks")) {
        const wall = std.time.timestamp();
        var timer = try std.time.Timer.start();
        std.Thread.sleep(30 * std.time.ns_per_ms);
        const slept = timer.read();
        try out.print("{} {} {}\n", .{ wall > 1_704_067_200, slept >= 30 * std.time.ns_per_ms, slept < 20 * std.time.ns_per_s });
    } else if (is(command, "random")) {
        var bytes: [16]u8 = undefined;
        std.crypto.random.bytes(&bytes);
        try out.print("{x}\n", .{&bytes});
    } else if (is(command, "panic")) {
        outer();
    } else if (is(command, "recursion")) {
        try out.print("{d}\n", .{deeper(0)});
    }
    try out.flush();
}

fn before(_: void, one: []const u8, other: []const u8) bool {
    return std.mem.lessThan(u8, one, other);
}

/// The sandbox gives one folder, `/`.
fn folderAt(path: []const u8) !std.fs.Dir {
    return std.fs.cwd().openDir(std.mem.trimLeft(u8, path, "/"), .{ .iterate = true });
}

fn files(gpa: std.mem.Allocator, folder: std.fs.Dir) !void {
    try folder.writeFile(.{ .sub_path = "a", .data = "hello, world" });
    try out.print("read {s}\n", .{try folder.readFileAlloc(gpa, "a", 100)});
    {
        var file = try folder.openFile("a", .{ .mode = .read_write });
        defer file.close();
        try file.seekFromEnd(0);
        try file.writeAll("!");
        try file.seekTo(7);
        try file.writeAll("there");
        try file.seekFromEnd(-6);
        try out.print("end {s}\n", .{try file.readToEndAlloc(gpa, 100)});
        try file.setEndPos(5);
    }
    try out.print("size {d}\n", .{(try folder.statFile("a")).size});
    try folder.rename("a", "b");
    try out.print("renamed {s} {s}\n", .{ kind(folder.statFile("a")), try folder.readFileAlloc(gpa, "b", 100) });
    try out.print("exclusive {s}\n", .{kind(folder.createFile("b", .{ .exclusive = true }))});
    try out.print("open {s}\n", .{kind(folder.openFile("none", .{}))});
    {
        var big = try folder.createFile("big", .{});
        defer big.close();
        const block: [1 << 16]u8 = @splat(0);
        for (0..48) |_| try big.writeAll(&block);
    }
    try out.print("big {d}\n", .{(try folder.statFile("big")).size});
    try folder.deleteFile("big");
    try folder.deleteFile("b");
    try out.print("left {d}\n", .{try count(folder)});
}

fn count(folder: std.fs.Dir) !usize {
    var entries = folder.iterate();
    var number: usize = 0;
    while (try entries.next()) |_| number += 1;
    return number;
}

fn directories(gpa: std.mem.Allocator, folder: std.fs.Dir) !void {
    try folder.makePath("one/two/three");
    for ([_][]const u8{ "one/b", "one/a", "one/two/c", "one/two/three/ü d" }) |name|
        try folder.writeFile(.{ .sub_path = name, .data = "" });
    try out.print("again {s}\n", .{kind(folder.makeDir("one"))});
    var walker = try folder.walk(gpa);
    var lines: std.ArrayList([]const u8) = .empty;
    while (try walker.next()) |entry| {
        const line = try std.fmt.allocPrint(gpa, "{s} {s}", .{ entry.path, if (entry.kind == .directory) "folder" else "file" });
        try lines.append(gpa, line);
    }
    std.mem.sort([]const u8, lines.items, {}, before);
    for (lines.items) |line| {
        const space = std.mem.lastIndexOfScalar(u8, line, ' ').?;
        try out.print("{s} {s}\n", .{ line[space + 1 ..], line[0..space] });
    }
    try out.print("full {}\n", .{!std.mem.eql(u8, kind(folder.deleteDir("one/two")), "none")});
    try folder.rename("one/two", "moved");
    {
        var moved = try folder.openDir("moved", .{ .iterate = true });
        defer moved.close();
        var first: []const u8 = "~";
        var entries = moved.iterate();
        while (try entries.next()) |entry| {
            if (before({}, entry.name, first)) first = try gpa.dupe(u8, entry.name);
        }
        try out.print("moved {s} {s}\n", .{ first, kind(folder.statFile("one/two")) });
        for (0..500) |index| {
            const name = try std.fmt.allocPrint(gpa, "file-{d:0>3}", .{index});
            try moved.writeFile(.{ .sub_path = name, .data = "" });
        }
        try out.print("many {d}\n", .{try count(moved)});
    }
    try folder.deleteTree("one");
    try folder.deleteTree("moved");
    try out.print("left {d}\n", .{try count(folder)});
}

noinline fn outer() void {
    @panic("no paper left");
}

noinline fn deeper(depth: i64) i64 {
    var room: [64]i64 = undefined;
    std.mem.doNotOptimizeAway(&room);
    if (depth < 0) return 0;
    return deeper(depth + 1) + 1;
}
