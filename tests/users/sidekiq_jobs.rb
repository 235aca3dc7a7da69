# Sidekiq: two processes; plain, bulk, retried, delayed, scheduled and dying jobs.
#
# This file is the application that both Sidekiq processes load, and the program that starts them
# (when USERS_ROLE is not set). The ledger is files, see common.py.
require 'sidekiq'
require 'sidekiq/api'

Redis.silence_deprecations = true
PORT = ENV.fetch('USERS_PORT', '6379')
FOLDER = ENV.fetch('USERS_FOLDER', '.')
PATIENCE = 60
DELAY = 1.0

Sidekiq.configure_client { |config| config.redis = { url: "redis://127.0.0.1:#{PORT}/4" } }
Sidekiq.configure_server do |config|
  config.redis = { url: "redis://127.0.0.1:#{PORT}/4" }
  config.options[:poll_interval_average] = 0.5
  config.options[:average_scheduled_poll_interval] = 0.5
  config.logger.level = Logger::ERROR
end

class Sidekiq::JobRetry # retries come when they are due, not up to thirty seconds later
  def rand(*)
    0
  end
end

class Ledger
  def initialize(name)
    @path = File.join(FOLDER, name)
    File.open(@path, 'a') {}
  end

  def write(what)
    File.open(@path, 'a') { |file| file.syswrite("#{what} #{Time.now.to_f}\n") }
  end

  def lines
    File.read(@path).lines.select { |line| line.end_with?("\n") }.map(&:split)
  end

  def counts
    lines.map(&:first).tally
  end

  def times
    lines.to_h { |what, at| [what, at.to_f] }
  end
end

DONE = Ledger.new('done')
TRIED = Ledger.new('tried')

class Work
  include Sidekiq::Job
  def perform(name)
    DONE.write(name)
  end
end

class Stubborn # fails twice, then succeeds
  include Sidekiq::Job
  sidekiq_options retry: 5, queue: 'low'
  sidekiq_retry_in { |_count| 1 }
  def perform(name)
    TRIED.write(name)
    raise "#{name} is not done yet" if TRIED.counts[name] < 3

    DONE.write(name)
  end
end

class Hopeless
  include Sidekiq::Job
  sidekiq_options retry: 1
  sidekiq_retry_in { |_count| 1 }
  def perform(name)
    TRIED.write(name)
    raise "#{name} never works"
  end
end

def check(what, got, wanted = true)
  abort "not ok: #{what}: #{got.inspect}, not #{wanted.inspect}" if got != wanted
  puts "ok #{what}"
end

def wait_for(why = -> { '' })
  deadline = Time.now + PATIENCE
  until yield
    abort "not ok: waited #{PATIENCE} s in vain; #{why.call}" if Time.now > deadline
    sleep 0.05
  end
end

def start_process
  Process.spawn({ 'USERS_ROLE' => 'server' }, 'sidekiq', '-r', File.expand_path(__FILE__),
                '-q', 'default,2', '-q', 'low', '-c', '5', '-e', 'test', %i[out err] => :err)
end

def main
  puts "version #{Sidekiq::VERSION}"
  plain = Array.new(200) { |i| "plain-#{i}" }
  plain.first(100).each { |name| Work.perform_async(name) }
  Work.perform_bulk(plain.drop(100).map { |name| [name] })
  stubborn = Array.new(8) { |i| "stubborn-#{i}" }
  stubborn.each { |name| Stubborn.perform_async(name) }
  due = {}
  10.times do |i|
    name = "delayed-#{i}"
    due[name] = Time.now.to_f + DELAY
    i.odd? ? Work.perform_in(DELAY, name) : Work.perform_at(Time.at(due[name]), name)
  end
  Hopeless.perform_async('hopeless')
  check 'queues hold what was produced',
        [Sidekiq::Queue.new.size, Sidekiq::Queue.new('low').size], [201, 8]
  check 'scheduled', Sidekiq::ScheduledSet.new.size, 10
  cancelled = Work.perform_in(3600, 'cancelled')
  check 'a job can be found and deleted', Sidekiq::ScheduledSet.new.find_job(cancelled).delete

  processes = [start_process, start_process]
  wanted = plain + stubborn + due.keys
  missing = -> { wanted - DONE.counts.keys }
  wait_for(-> { "missing: #{missing.call.first(10)}" }) { missing.call.empty? }
  sleep 0.3 # what is done twice is done twice soon
  check 'no job done twice', DONE.counts.select { |_, n| n != 1 }, {}
  check 'no job from nowhere', DONE.counts.keys - wanted, []
  times = DONE.times
  check 'nothing delayed comes early', due.select { |name, at| times[name] < at }, {}
  wait_for { Sidekiq::DeadSet.new.size == 1 }
  check 'a job that never works is dead', Sidekiq::DeadSet.new.first.args, ['hopeless']
  check 'tries', TRIED.counts.reject { |_, n| n == 3 }, { 'hopeless' => 2 }
  check 'nothing is left over',
        [Sidekiq::RetrySet, Sidekiq::ScheduledSet, Sidekiq::Queue].map { |set| set.new.size },
        [0, 0, 0]
  check 'both processes are known', Sidekiq::ProcessSet.new.size, 2
  processes.each { |pid| Process.kill('TERM', pid) }
  processes.each { |pid| Process.wait(pid) }
  stats = Sidekiq::Stats.new # they count as they say goodbye
  check 'statistics', [stats.processed, stats.failed], [218 + 16 + 2, 16 + 2]
  check 'processes have said goodbye', Sidekiq::ProcessSet.new.size, 0
end

main unless ENV['USERS_ROLE']
